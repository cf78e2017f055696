//! An operation on an image, with all its parameters.

use super::affine::{self, Sampling};
use super::{blur, colour, table};
use crate::data::image::Image;

/// An operation on an image, with all its parameters: nothing in it is random. The bytes equal
/// Pillow 13's on images of mode RGB or L. Variants with another source name it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// `ImageOps.autocontrast`: stretches each channel to the full range.
    AutoContrast,
    /// `ImageOps.equalize`: makes the values of each channel equally frequent.
    Equalize,
    /// `ImageOps.invert`.
    Invert,
    /// `ImageOps.posterize`: the number of upper bits to keep. 8 and more keep all; 0 and less give a
    /// black image, as in timm with Pillow before 13, which refuses them.
    Posterize(i32),
    /// `ImageOps.solarize`: inverts values from this threshold on.
    Solarize(f64),
    /// timm's `solarize_add`: adds this to values below 128.
    SolarizeAdd(u8),
    /// `ImageEnhance.Brightness` with this factor: 0 is black, 1 changes nothing.
    Brightness(f32),
    /// `ImageEnhance.Contrast` with this factor: 0 is uniform grey, 1 changes nothing.
    Contrast(f32),
    /// `ImageEnhance.Color` with this factor: 0 is grey, 1 changes nothing. Grey images never change.
    Color(f32),
    /// `ImageEnhance.Sharpness` with this factor: 0 is smooth, 1 changes nothing.
    Sharpness(f32),
    /// torchvision's `adjust_hue`: this share of a turn of the colour circle, in [-0.5, 0.5]. Grey
    /// images never change.
    Hue(f64),
    /// `ImageFilter.GaussianBlur` with this standard deviation in pixels.
    GaussianBlur(f32),
    /// torchvision's `gaussian_blur` with a kernel of 23 pixels and this standard deviation. Values
    /// within f32 rounding of a half may round to the other side. Images of fewer than 12 pixels, which
    /// torchvision refuses, are mirrored several times.
    KernelBlur(f32),
    /// `Image.rotate` without `expand`: degrees, counterclockwise.
    Rotate(f64, Sampling),
    /// Moves each row by this factor times its distance from the top, to the left.
    ShearX(f64, Sampling),
    /// Moves each column by this factor times its distance from the left, upward.
    ShearY(f64, Sampling),
    /// Moves the image to the left by this number of pixels.
    TranslateX(f64, Sampling),
    /// Moves the image upward by this number of pixels.
    TranslateY(f64, Sampling),
    /// Exchanges top and bottom.
    VerticalFlip,
}

impl Op {
    /// Applies the operation in place.
    pub fn apply(&self, image: &mut Image) {
        match *self {
            Self::AutoContrast => table::auto_contrast(image),
            Self::Equalize => table::equalize(image),
            Self::Invert => table::invert(image),
            Self::Posterize(bits) => table::posterize(image, bits),
            Self::Solarize(threshold) => table::solarize(image, threshold),
            Self::SolarizeAdd(amount) => table::solarize_add(image, amount),
            Self::Brightness(factor) => table::brightness(image, factor),
            Self::Contrast(factor) => table::contrast(image, factor),
            Self::Color(factor) => colour::saturation(image, factor),
            Self::Sharpness(factor) => colour::sharpness(image, factor),
            // Truncated, then modulo 256.
            Self::Hue(share) => colour::hue(image, (share * 255.0) as i32 as u8),
            Self::GaussianBlur(radius) => blur::box_blur(image, radius),
            Self::KernelBlur(sigma) => blur::kernel_blur(image, sigma),
            Self::Rotate(degrees, sampling) => affine::rotate(image, degrees, sampling),
            Self::ShearX(factor, sampling) => {
                affine::transform(image, [1.0, factor, 0.0, 0.0, 1.0, 0.0], sampling);
            }
            Self::ShearY(factor, sampling) => {
                affine::transform(image, [1.0, 0.0, 0.0, factor, 1.0, 0.0], sampling);
            }
            Self::TranslateX(pixels, sampling) => {
                affine::transform(image, [1.0, 0.0, pixels, 0.0, 1.0, 0.0], sampling);
            }
            Self::TranslateY(pixels, sampling) => {
                affine::transform(image, [1.0, 0.0, 0.0, 0.0, 1.0, pixels], sampling);
            }
            Self::VerticalFlip => vertical_flip(image),
        }
    }
}

fn vertical_flip(image: &mut Image) {
    let (height, width) = (image.height(), image.width());
    for plane in image.pixels_mut().chunks_exact_mut(height * width) {
        let (upper, lower) = plane.split_at_mut(height / 2 * width);
        let rows = upper.chunks_exact_mut(width);
        for (row, other) in rows.zip(lower.chunks_exact_mut(width).rev()) {
            row.swap_with_slice(other);
        }
    }
}
