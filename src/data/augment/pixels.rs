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

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let bytes = (0..3 * 12 * 15).map(|i: usize| (i * i % 251) as u8);
        Image::from_parts(bytes.collect(), 12, 15)
    }

    /// The image after `pixels`, for a key.
    fn changed(pixels: &PixelAugmentation, mut image: Image, key: u64) -> Image {
        pixels.apply(&mut image, [1, 2, 3], &mut Draw::new(&[key]));
        image
    }

    fn all() -> PixelAugmentation {
        PixelAugmentation {
            vflip: 0.5,
            degrees: 30.0,
            auto_augment: "rand-n3-p0.9".parse().ok(),
            color_jitter: ColorJitter::from_values(&[0.4, 0.4, 0.4, 0.1]).ok(),
            color_jitter_prob: Some(0.8),
            grayscale_prob: 0.3,
            gaussian_blur_prob: 0.4,
        }
    }

    #[test]
    fn each_change_has_a_stream_of_its_own() {
        let all = all();
        let none = PixelAugmentation::default();
        let steps = [
            PixelAugmentation {
                vflip: all.vflip,
                ..none.clone()
            },
            PixelAugmentation {
                degrees: all.degrees,
                ..none.clone()
            },
            PixelAugmentation {
                auto_augment: all.auto_augment.clone(),
                ..none.clone()
            },
            PixelAugmentation {
                color_jitter: all.color_jitter,
                color_jitter_prob: all.color_jitter_prob,
                ..none.clone()
            },
            PixelAugmentation {
                grayscale_prob: all.grayscale_prob,
                ..none.clone()
            },
            PixelAugmentation {
                gaussian_blur_prob: all.gaussian_blur_prob,
                ..none.clone()
            },
        ];
        let mut active = [0; 6];
        for key in 0..100 {
            let mut one_by_one = image();
            for (step, active) in steps.iter().zip(&mut active) {
                let next = changed(step, one_by_one.clone(), key);
                *active += usize::from(next != one_by_one);
                one_by_one = next;
            }
            assert_eq!(changed(&all, image(), key), one_by_one, "{key}");
        }
        let [vflip, degrees, policy, jitter, grey, blur] = active;
        assert!(
            (35..65).contains(&vflip) && degrees > 80 && policy > 90,
            "{active:?}"
        );
        assert!(
            (65..95).contains(&jitter) && (15..50).contains(&grey),
            "{active:?}"
        );
        assert!((20..60).contains(&blur), "{active:?}");
        assert_eq!(changed(&none, image(), 1), image());
        assert!(!none.is_active() && steps.iter().all(PixelAugmentation::is_active));
    }

    #[test]
    fn grey_images_and_images_of_one_pixel_take_every_change() {
        for (height, width) in [(1, 1), (1, 30), (28, 28)] {
            let bytes: Vec<u8> = (0..height * width).map(|i| (i * 7) as u8).collect();
            let grey = Image::from_parts(bytes.clone(), height, width);
            let colour = Image::from_parts(bytes.repeat(3), height, width);
            for key in 0..50 {
                let changed_grey = changed(&all(), grey.clone(), key);
                assert_eq!(changed_grey.pixels().len(), height * width);
                assert_eq!(changed(&all(), colour.clone(), key).channels(), 3);
            }
        }
        let empty = Image::from_parts(Vec::new(), 0, 4);
        assert_eq!(changed(&all(), empty.clone(), 1), empty);
    }

    #[test]
    fn colours_of_a_mean_round_as_in_timm() {
        // Of CIFAR-100; round(255 * x) in Python.
        assert_eq!(mean_colour([0.5071, 0.4865, 0.4409], 3), [129, 124, 112]);
        assert_eq!(mean_colour([0.1307; 3], 1), [33; 3]);
    }
}
