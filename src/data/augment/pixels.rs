//! All changes to the bytes of an image, in timm's order.

use serde::{Deserialize, Serialize};

use super::affine::{Resampling, Sampling};
use super::jitter::ColorJitter;
use super::op::Op;
use super::policy::AutoAugment;
use crate::data::image::Image;
use crate::data::random::Draw;

/// Random changes to the bytes of an image, after the crop and the horizontal flip. They are applied
/// in the order of the fields.
///
/// Each has a random stream of its own, so that one does not change the draws of another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PixelAugmentation {
    /// The probability of a vertical flip, in [0, 1].
    pub vflip: f64,
    /// The largest rotation in degrees, in either direction, as torchvision's `RandomRotation`: the
    /// nearest pixel, black corners. 0 for none.
    pub degrees: f64,
    /// A policy of several operations.
    pub auto_augment: Option<AutoAugment>,
    /// Random brightness, contrast, saturation and hue.
    pub color_jitter: Option<ColorJitter>,
    /// The probability of [`color_jitter`](Self::color_jitter); none always applies it.
    pub color_jitter_prob: Option<f64>,
    /// The probability of making an image grey, in [0, 1]. It keeps its channels.
    pub grayscale_prob: f64,
    /// The probability of a Gaussian blur of 0.1 to 2 pixels, in [0, 1], as torchvision's
    /// `GaussianBlur` with a kernel of 23 pixels.
    pub gaussian_blur_prob: f64,
}

/// The keys of the random streams.
mod stream {
    pub const VFLIP: u64 = 0;
    pub const DEGREES: u64 = 1;
    pub const AUTO_AUGMENT: u64 = 2;
    pub const COLOR_JITTER: u64 = 3;
    pub const GRAYSCALE: u64 = 4;
    pub const GAUSSIAN_BLUR: u64 = 5;
}

/// The range of the standard deviation of a blur.
const BLUR: (f32, f32) = (0.1, 2.0);

impl PixelAugmentation {
    /// Whether there is a change to make.
    pub fn is_active(&self) -> bool {
        *self != Self::default()
    }

    /// Draws changes and applies them to `image`. `fill` is the colour that affine transforms of
    /// [`auto_augment`](Self::auto_augment) move in.
    pub(in crate::data) fn apply(&self, image: &mut Image, fill: [u8; 3], draw: &mut Draw) {
        let key = draw.bits();
        if image.pixels().is_empty() {
            return;
        }
        let stream = |number| Draw::new(&[key, number]);
        if stream(stream::VFLIP).chance(self.vflip) {
            Op::VerticalFlip.apply(image);
        }
        if self.degrees > 0.0 {
            let most = self.degrees as f32;
            let degrees = stream(stream::DEGREES).range(-most, most);
            let sampling = Sampling {
                resampling: Resampling::Nearest,
                fill: [0; 3],
            };
            Op::Rotate(f64::from(degrees), sampling).apply(image);
        }
        if let Some(policy) = &self.auto_augment {
            policy.apply(image, fill, &mut stream(stream::AUTO_AUGMENT));
        }
        if let Some(jitter) = &self.color_jitter {
            let mut draw = stream(stream::COLOR_JITTER);
            if draw.chance(self.color_jitter_prob.unwrap_or(1.0)) {
                jitter.apply(image, &mut draw);
            }
        }
        if stream(stream::GRAYSCALE).chance(self.grayscale_prob) {
            Op::Color(0.0).apply(image);
        }
        let mut draw = stream(stream::GAUSSIAN_BLUR);
        if draw.chance(self.gaussian_blur_prob) {
            Op::KernelBlur(draw.range(BLUR.0, BLUR.1)).apply(image);
        }
    }
}

/// The colour of the mean of a data set, of pixels in [0, 1], rounded as in timm.
pub(in crate::data) fn mean_colour(mean: [f32; 3], channels: usize) -> [u8; 3] {
    let byte = |mean: f32| (255.0 * f64::from(mean)).round_ties_even() as u8;
    match channels {
        1 => [byte(mean.iter().sum::<f32>() / 3.0); 3],
        _ => mean.map(byte),
    }
}
