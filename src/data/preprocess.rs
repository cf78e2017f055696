//! The preprocessing of images for a network: timm's evaluation transform.

use candle_core::{Device, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::augment::Normaliser;
use super::error::DataError;
use super::image::Image;
use super::random::Draw;
use super::resample::{Interpolation, resize};
use super::resized_crop::ResizedCrop;

/// The channel means of ImageNet's images, RGB, of pixels in [0, 1].
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviations.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The preprocessing of images of any size, with timm's names: scales the shorter side to
/// `input_size / crop_pct`, crops the centre and normalises the channels.
///
/// Given the same decoded image, the pixels equal the result of timm's evaluation transform with
/// Pillow to the last bit. [`Image::read`] documents the differences in decoding.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Height and width of the network's input.
    pub input_size: usize,
    /// The fraction of the scaled image's shorter side to keep.
    pub crop_pct: f64,
    /// The filter for scaling.
    pub interpolation: Interpolation,
    /// The mean of each channel, of pixels in [0, 1], to subtract.
    pub mean: [f32; 3],
    /// The standard deviation of each channel, to divide by.
    pub std: [f32; 3],
}

impl Default for Preprocess {
    /// timm's default.
    fn default() -> Self {
        Self {
            input_size: 224,
            crop_pct: 0.875,
            interpolation: Interpolation::Bicubic,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }
}

/// The largest input size: the bytes of an image fit a `u32`.
const LARGEST: usize = 1 << 14;

impl Preprocess {
    /// Checks the range of each value.
    ///
    /// # Errors
    /// If `input_size` is not in 1..=16384, `crop_pct` not in [0.01, 1], a mean not finite, or a
    /// standard deviation not positive.
    pub fn check(&self) -> std::result::Result<(), DataError> {
        let wrong = |option, value: String, problem: &str| {
            Err(DataError::Option {
                option,
                value,
                problem: problem.to_owned(),
            })
        };
        if !(1..=LARGEST).contains(&self.input_size) {
            let problem = format!("expected 1 to {LARGEST} pixels");
            return wrong("img_size", self.input_size.to_string(), &problem);
        }
        // A smaller fraction would scale images beyond any memory.
        if !(0.01..=1.0).contains(&self.crop_pct) {
            let problem = "expected a fraction of at least 0.01 and at most 1";
            return wrong("crop_pct", self.crop_pct.to_string(), problem);
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            return wrong("mean", format!("{:?}", self.mean), "expected numbers");
        }
        if !self.std.iter().all(|std| std.is_finite() && *std > 0.0) {
            let problem = "expected positive numbers";
            return wrong("std", format!("{:?}", self.std), problem);
        }
        Ok(())
    }

    /// The scaled and cropped image before normalisation, `[channels, input_size, input_size]`.
    ///
    /// # Errors
    /// If a value is out of its range; see [`check`](Self::check).
    pub fn pixels(&self, image: &Image) -> std::result::Result<Vec<u8>, DataError> {
        self.check()?;
        let size = self.input_size;
        let side = (size as f64 / self.crop_pct).floor() as usize;
        let (height, width) = (image.height(), image.width());
        let (short, long) = (height.min(width), height.max(width));
        // torchvision truncates the longer side.
        let longer = ((side * long) as f64 / short as f64) as usize;
        let scaled = if width <= height {
            (longer, side)
        } else {
            (side, longer)
        };
        let (top, left) = (middle(scaled.0, size), middle(scaled.1, size));
        let seen = |start: isize, length: usize| {
            let start = start.max(0) as usize;
            start..length.min(start + size)
        };
        let part = (seen(top, scaled.0), seen(left, scaled.1));
        let image = resize(image, scaled, part, self.interpolation);
        // Pixels outside the scaled image are black.
        let image = image.crop(top.min(0), left.min(0), size, size);
        Ok(image.into_pixels())
    }

    /// The input of the network: `[1, channels, input_size, input_size]`, f32. A grey image is
    /// normalised with the averages of `mean` and of `std`.
    ///
    /// # Errors
    /// If a value is out of its range, see [`check`](Self::check), or the tensor cannot be made.
    pub fn tensor(&self, image: &Image) -> Result<Tensor> {
        let pixels = self.pixels(image).map_err(Error::wrap)?;
        let mut values = vec![0.0; pixels.len()];
        let channels = image.channels();
        Normaliser::new(self.mean, self.std, channels).apply(&pixels, &mut values);
        let shape = (1, channels, self.input_size, self.input_size);
        Tensor::from_vec(values, shape, &Device::Cpu)
    }

    /// A random part of the image, chosen as torchvision's `RandomResizedCrop` does, scaled to
    /// `[channels, input_size, input_size]`.
    pub(super) fn random_pixels(
        &self,
        image: &Image,
        crop: &ResizedCrop,
        draw: &mut Draw,
    ) -> Vec<u8> {
        let part = crop.draw(image.height(), image.width(), draw);
        let part = image.crop(
            part.top as isize,
            part.left as isize,
            part.height,
            part.width,
        );
        let size = self.input_size;
        let all = (0..size, 0..size);
        resize(&part, (size, size), all, self.interpolation).into_pixels()
    }
}

/// The start of the middle `size` of `length` pixels; negative if there are fewer.
fn middle(length: usize, size: usize) -> isize {
    if size > length {
        // torchvision pads first, with the smaller half before the image.
        -(((size - length) / 2) as isize)
    } else {
        // Python rounds a half to the even number.
        ((length - size) as f64 / 2.0).round_ties_even() as isize
    }
}
