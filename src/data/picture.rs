//! A decoded image of any size.

use std::path::Path;

use super::DataError;

/// An image as RGB bytes, planar: `[3, height, width]` in C order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of `pixels`, `[3, height, width]` bytes.
    ///
    /// # Errors
    /// If the picture is empty or the lengths do not agree.
    pub fn new(pixels: Vec<u8>, height: usize, width: usize) -> Result<Self, DataError> {
        if pixels.is_empty() || pixels.len() != 3 * height * width {
            return Err(DataError::invalid(
                Path::new("picture"),
                format!("{} bytes", pixels.len()),
                format!("3 x {height} x {width}, at least one pixel"),
            ));
        }
        Ok(Self::from_parts(pixels, height, width))
    }

    /// [`new`](Self::new) where the lengths are known to agree.
    pub(super) fn from_parts(pixels: Vec<u8>, height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            pixels,
        }
    }

    /// Decodes a PNG or JPEG file, whatever its name says. An alpha channel is dropped and grey
    /// repeated for each channel, as Pillow's `convert("RGB")` does; like Pillow it leaves the
    /// orientation that a camera noted to the viewer.
    ///
    /// # Errors
    /// If the file cannot be read, or is not an image of these formats or damaged; the error names
    /// it.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        let reader = image::ImageReader::open(path).map_err(io)?;
        let reader = reader.with_guessed_format().map_err(io)?;
        let image = reader
            .decode()
            .map_err(|error| DataError::invalid(path, error.to_string(), "a PNG or JPEG image"))?;
        let image = image.into_rgb8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        let interleaved = image.into_raw();
        let mut pixels = Vec::with_capacity(interleaved.len());
        for channel in 0..3 {
            pixels.extend(interleaved.iter().skip(channel).step_by(3));
        }
        Self::new(pixels, height, width)
            .map_err(|_| DataError::invalid(path, "an image without pixels", "at least one"))
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes, `[3, height, width]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, `[3, height, width]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The part of `height` x `width` pixels whose first is at row `top` and column `left`; what
    /// lies outside is black.
    pub(super) fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Self {
        let mut pixels = vec![0; 3 * height * width];
        // The columns of the part that the picture has.
        let first = (-left).clamp(0, width as isize) as usize;
        let end = (self.width as isize - left).clamp(first as isize, width as isize) as usize;
        let planes = self.pixels.chunks_exact(self.height * self.width);
        for (source, target) in planes.zip(pixels.chunks_exact_mut((height * width).max(1))) {
            for (row, target) in (top..).zip(target.chunks_exact_mut(width.max(1))) {
                if first == end || row < 0 || row >= self.height as isize {
                    continue;
                }
                let start = row as usize * self.width + (first as isize + left) as usize;
                target[first..end].copy_from_slice(&source[start..start + end - first]);
            }
        }
        Self::from_parts(pixels, height, width)
    }
}
