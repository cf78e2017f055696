//! A decoded image of any size.

use std::path::Path;

use super::error::DataError;

/// An image as bytes, planar, in C order: RGB `[3, height, width]` or grey `[1, height, width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// An RGB image of `pixels`, `[3, height, width]`.
    ///
    /// # Errors
    /// If the image has no pixels or the number of bytes is wrong.
    pub fn new(pixels: Vec<u8>, height: usize, width: usize) -> Result<Self, DataError> {
        let bytes = height.checked_mul(width).and_then(|n| n.checked_mul(3));
        if pixels.is_empty() || bytes != Some(pixels.len()) {
            return Err(DataError::invalid(
                Path::new("image"),
                format!("{} bytes", pixels.len()),
                format!("3 x {height} x {width}, at least one pixel"),
            ));
        }
        Ok(Self::from_parts(pixels, height, width))
    }

    /// [`new`](Self::new) without checks, also for grey images.
    pub(super) fn from_parts(pixels: Vec<u8>, height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            pixels,
        }
    }

    /// Converts to grey, as Pillow's `convert("L")` does.
    pub fn into_grey(self) -> Self {
        if self.channels() == 1 {
            return self;
        }
        Self::from_parts(luma(&self.pixels), self.height, self.width)
    }

    /// 3, or 1 for a grey image.
    pub fn channels(&self) -> usize {
        self.pixels.len() / (self.height * self.width).max(1)
    }

    /// The number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bytes, `[channels, height, width]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, `[channels, height, width]`.
    pub(super) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The bytes, `[channels, height, width]`.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The `height` x `width` pixels from row `top` and column `left` on. Pixels outside the image are
    /// black.
    pub(super) fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Self {
        let mut pixels = vec![0; self.channels() * height * width];
        // The columns of the part that are in the image.
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

/// Converts three RGB planes to grey with Pillow's fixed-point arithmetic: ITU-R 601-2 luma with 16
/// fractional bits.
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
