//! Operations at a magnitude, as timm's `auto_augment.py` defines them.

use crate::data::augment::affine::{Resampling, Sampling};
use crate::data::augment::op::Op;

/// The magnitude of the strongest change, `_LEVEL_DENOM` in timm.
pub(super) const FULL: f64 = 10.0;

/// An operation whose parameter follows from a magnitude, under timm's name. `Increasing` operations
/// change more with a larger magnitude; the others have the direction of their first implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OpKind {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    PosterizeIncreasing,
    PosterizeOriginal,
    Solarize,
    SolarizeIncreasing,
    SolarizeAdd,
    Color,
    ColorIncreasing,
    Contrast,
    ContrastIncreasing,
    Brightness,
    BrightnessIncreasing,
    Sharpness,
    SharpnessIncreasing,
    ShearX,
    ShearY,
    TranslateXRel,
    TranslateYRel,
    Desaturate,
    GaussianBlur,
    GaussianBlurRand,
}

/// A magnitude and the other draws of one operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// From 0 to 10, or to a larger bound that the policy gives.
    pub magnitude: f64,
    /// Whether a change that has two directions goes in the negative one.
    pub negative: bool,
    /// Uniform in [0, 1): the radius of `GaussianBlurRand`.
    pub share: f64,
    /// The filter of affine transforms.
    pub resampling: Resampling,
}

/// What operations need to know of an image and its data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Height and width, in pixels.
    pub size: (usize, usize),
    /// The colour of pixels that affine transforms move in.
    pub fill: [u8; 3],
}

impl OpKind {
    /// The operation at a level. `translate_pct` is the largest translation as a share of the image.
    pub fn op(self, level: &Level, translate_pct: f64, setting: &Setting) -> Op {
        let part = level.magnitude / FULL;
        let signed = |value: f64| if level.negative { -value } else { value };
        let sampling = Sampling {
            resampling: level.resampling,
            fill: setting.fill,
        };
        // Parameters of Pillow's enhancements are f32.
        let factor = || (part * 1.8 + 0.1) as f32;
        let increasing = || (1.0 + signed(part * 0.9)).max(0.1) as f32;
        let between = |low: f64, high: f64| (low + (high - low) * part).clamp(low, high);
        let bits = || (part * 4.0) as i32;
        let threshold = || ((part * 256.0) as i32).min(256);
        match self {
            Self::AutoContrast => Op::AutoContrast,
            Self::Equalize => Op::Equalize,
            Self::Invert => Op::Invert,
            Self::Rotate => Op::Rotate(signed(part * 30.0), sampling),
            Self::Posterize => Op::Posterize(bits()),
            Self::PosterizeIncreasing => Op::Posterize(4 - bits()),
            Self::PosterizeOriginal => Op::Posterize(bits() + 4),
            Self::Solarize => Op::Solarize(f64::from(threshold())),
            Self::SolarizeIncreasing => Op::Solarize(f64::from(256 - threshold())),
            Self::SolarizeAdd => Op::SolarizeAdd((part * 110.0).min(128.0) as u8),
            Self::Color => Op::Color(factor()),
            Self::ColorIncreasing => Op::Color(increasing()),
            Self::Contrast => Op::Contrast(factor()),
            Self::ContrastIncreasing => Op::Contrast(increasing()),
            Self::Brightness => Op::Brightness(factor()),
            Self::BrightnessIncreasing => Op::Brightness(increasing()),
            Self::Sharpness => Op::Sharpness(factor()),
            Self::SharpnessIncreasing => Op::Sharpness(increasing()),
            Self::ShearX => Op::ShearX(signed(part * 0.3), sampling),
            Self::ShearY => Op::ShearY(signed(part * 0.3), sampling),
            Self::TranslateXRel => {
                let pixels = signed(part * translate_pct) * setting.size.1 as f64;
                Op::TranslateX(pixels, sampling)
            }
            Self::TranslateYRel => {
                let pixels = signed(part * translate_pct) * setting.size.0 as f64;
                Op::TranslateY(pixels, sampling)
            }
            Self::Desaturate => Op::Color((1.0 - between(0.5, 1.0)).clamp(0.0, 1.0) as f32),
            Self::GaussianBlur => Op::GaussianBlur(between(0.1, 2.0) as f32),
            Self::GaussianBlurRand => {
                let (low, high) = (0.1, 2.0 * between(0.0, 1.0));
                Op::GaussianBlur((low + (high - low) * level.share) as f32)
            }
        }
    }
}
