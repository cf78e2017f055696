//! A decoded image of any size.

use std::path::Path;

use image::DynamicImage;

use super::error::DataError;

/// An image as bytes, planar, in C order: RGB `[3, height, width]`, or grey `[1, height, width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// A picture of `pixels`, `[3, height, width]` bytes.
    ///
    /// # Errors
    /// If the picture is empty or the lengths do not agree.
    pub fn new(pixels: Vec<u8>, height: usize, width: usize) -> Result<Self, DataError> {
        let bytes = height.checked_mul(width).and_then(|n| n.checked_mul(3));
        if pixels.is_empty() || bytes != Some(pixels.len()) {
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

    /// Decodes a PNG, JPEG, WebP, TIFF, BMP or PNM file, whatever its name says, to RGB. An alpha channel is dropped and
    /// grey repeated for each channel, as Pillow's `convert("RGB")` does; like Pillow it leaves the
    /// orientation that a camera noted to the viewer.
    ///
    /// Of PNG files the bytes are Pillow's, also where it makes bytes of 16 bits: the upper half of
    /// a colour, but of grey without alpha the value itself, at most 255. So are those of lossless
    /// files of the other formats with 8 bits. JPEG leaves to the decoder how it rounds and how it
    /// enlarges the colours' planes: the bytes are within 2 of Pillow's where the colours have all
    /// their pixels; where they have half or a quarter, they differ by half a level on average and
    /// by up to 24 at hard edges (`tests/data/images.rs` has the measurement).
    ///
    /// # Errors
    /// If the file cannot be read, or is not an image of these formats or damaged; the error names
    /// it.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        let reader = image::ImageReader::open(path).map_err(io)?;
        let reader = reader.with_guessed_format().map_err(io)?;
        let image = reader.decode().map_err(|error| {
            DataError::invalid(
                path,
                error.to_string(),
                "a PNG, JPEG, WebP, TIFF, BMP or PNM image",
            )
        })?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let upper = |value: u16| (value >> 8) as u8;
        let pixels = match image {
            DynamicImage::ImageLuma16(grey) => {
                let plane: Vec<u8> = grey.iter().map(|value| (*value).min(255) as u8).collect();
                plane.repeat(3)
            }
            DynamicImage::ImageLumaA16(grey) => {
                let plane: Vec<u8> = grey.pixels().map(|pixel| upper(pixel.0[0])).collect();
                plane.repeat(3)
            }
            DynamicImage::ImageRgb16(image) => planar(&image, 3, upper),
            DynamicImage::ImageRgba16(image) => planar(&image, 4, upper),
            image => planar(&image.into_rgb8(), 3, |value| value),
        };
        Self::new(pixels, height, width)
            .map_err(|_| DataError::invalid(path, "an image without pixels", "at least one"))
    }

    /// The picture in grey, as Pillow's `convert("L")` makes it of RGB.
    pub fn into_grey(self) -> Self {
        if self.channels() == 1 {
            return self;
        }
        Self::from_parts(luma(&self.pixels), self.height, self.width)
    }

    /// 3, or 1 if the picture is grey.
    pub fn channels(&self) -> usize {
        self.pixels.len() / (self.height * self.width).max(1)
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes, `[channels, height, width]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, `[channels, height, width]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The part of `height` x `width` pixels whose first is at row `top` and column `left`; what
    /// lies outside is black.
    pub(super) fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Self {
        let mut pixels = vec![0; self.channels() * height * width];
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

/// The first three of the channels of interleaved values, each as a plane of bytes.
fn planar<T: Copy>(values: &[T], channels: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
    let plane = |channel| values.iter().skip(channel).step_by(channels);
    (0..3).flat_map(plane).map(|value| byte(*value)).collect()
}

/// The grey plane of three planes RGB, in the fixed-point arithmetic of Pillow: ITU-R 601-2 luma
/// with 16 bits behind the point.
pub(super) fn luma(pixels: &[u8]) -> Vec<u8> {
    let plane = pixels.len() / 3;
    let (red, rest) = pixels.split_at(plane);
    let (green, blue) = rest.split_at(plane);
    let pixels = red.iter().zip(green).zip(blue);
    pixels
        .map(|((r, g), b)| {
            let sum = 19_595 * u32::from(*r) + 38_470 * u32::from(*g) + 7_471 * u32::from(*b);
            ((sum + (1 << 15)) >> 16) as u8
        })
        .collect()
}
