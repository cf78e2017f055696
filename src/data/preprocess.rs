//! What is done to a picture before a network sees it: timm's transform for evaluation.

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

/// How pictures of any size become a network's input, with timm's names: the shorter side is
/// scaled to `input_size / crop_pct`, the middle cropped, and the channels normalised.
///
/// From the decoded picture on the pixels are those of timm's evaluation transform with Pillow, to
/// the last bit. Decoding is [`Image::read`]'s matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Height and width of the network's images.
    pub input_size: usize,
    /// The share of the scaled picture's shorter side that is kept.
    pub crop_pct: f64,
    /// The filter that pictures are scaled with.
    pub interpolation: Interpolation,
    /// Subtracted from each channel of pixels in [0, 1].
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
}

impl Default for Preprocess {
    /// What timm does for a network that asks for nothing else.
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

/// Sizes above this are a mistake; it keeps the bytes of a picture within a `u32`.
const LARGEST: usize = 1 << 14;

impl Preprocess {
    /// Refuses values that make no picture.
    ///
    /// # Errors
    /// If a size is zero or huge, the share of the crop not in (0, 1], or a number not finite.
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
        // Smaller shares would scale a picture to one that no memory holds.
        if !(0.01..=1.0).contains(&self.crop_pct) {
            let problem = "expected a share of at least 0.01 and at most 1";
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

    /// The pixels that the network sees, before they are normalised:
    /// `[channels, input_size, input_size]`.
    ///
    /// # Errors
    /// If a value is out of its range; see [`check`](Self::check).
    pub fn pixels(&self, picture: &Image) -> std::result::Result<Vec<u8>, DataError> {
        self.check()?;
        let size = self.input_size;
        let side = (size as f64 / self.crop_pct).floor() as usize;
        let (height, width) = (picture.height(), picture.width());
        let (short, long) = (height.min(width), height.max(width));
        // torchvision's: the longer side is cut, not rounded.
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
        let picture = resize(picture, scaled, part, self.interpolation);
        // What the scaled picture lacks is black.
        let picture = picture.crop(top.min(0), left.min(0), size, size);
        Ok(picture.into_pixels())
    }

    /// The picture as the network takes it: `[1, channels, input_size, input_size]`, f32. A grey one
    /// is normalised with the averages of `mean` and of `std`.
    ///
    /// # Errors
    /// If a value is out of its range, see [`check`](Self::check), or the tensor cannot be made.
    pub fn tensor(&self, picture: &Image) -> Result<Tensor> {
        let pixels = self.pixels(picture).map_err(Error::wrap)?;
        let mut values = vec![0.0; pixels.len()];
        let channels = picture.channels();
        Normaliser::new(self.mean, self.std, channels).plain(&pixels, &mut values);
        let shape = (1, channels, self.input_size, self.input_size);
        Tensor::from_vec(values, shape, &Device::Cpu)
    }

    /// A random part of the picture scaled to the network's size, as torchvision's
    /// `RandomResizedCrop` chooses it: `[channels, input_size, input_size]`.
    pub(super) fn random_pixels(
        &self,
        picture: &Image,
        crop: &ResizedCrop,
        draw: &mut Draw,
    ) -> Vec<u8> {
        let part = crop.draw(picture.height(), picture.width(), draw);
        let part = picture.crop(
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

/// Where the middle `size` of `length` pixels begin; before the first one where there are fewer.
fn middle(length: usize, size: usize) -> isize {
    if size > length {
        // torchvision pads first, with the smaller half in front.
        -(((size - length) / 2) as isize)
    } else {
        // Python rounds a half to the even number.
        ((length - size) as f64 / 2.0).round_ties_even() as isize
    }
}
