//! A decoded image of any size.

use std::io::Cursor;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

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

    /// The image with `factor` x `factor` equal pixels for each pixel; 0 counts as 1.
    pub fn enlarged(&self, factor: usize) -> Self {
        let factor = factor.max(1);
        let mut pixels = Vec::with_capacity(self.pixels.len() * factor * factor);
        for row in self.pixels.chunks_exact(self.width.max(1)) {
            let wide = row
                .iter()
                .flat_map(|pixel| std::iter::repeat_n(*pixel, factor));
            let start = pixels.len();
            pixels.extend(wide);
            for _ in 1..factor {
                pixels.extend_from_within(start..start + self.width * factor);
            }
        }
        Self::from_parts(pixels, self.height * factor, self.width * factor)
    }

    /// The content of a PNG file of the image.
    ///
    /// # Errors
    /// If the image is too large for the format.
    pub fn to_png(&self) -> Result<Vec<u8>, DataError> {
        let plane = self.height * self.width;
        let channels = self.channels();
        let interleaved: Vec<u8> = (0..plane * channels)
            .map(|i| self.pixels[i % channels * plane + i / channels])
            .collect();
        let colour = match channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut file = Cursor::new(Vec::new());
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        PngEncoder::new(&mut file)
            .write_image(&interleaved, size(self.width), size(self.height), colour)
            .map_err(|error| {
                let sizes = format!("{} x {} pixels", self.height, self.width);
                DataError::invalid(Path::new("image"), error.to_string(), sizes)
            })?;
        Ok(file.into_inner())
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
