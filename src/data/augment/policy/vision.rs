//! torchvision's policies: AutoAugment for CIFAR-10, and TrivialAugment.
//!
//! Affine transforms take the nearest pixel and fill with black.

use super::level::Setting;
use super::notation::{Parameters, PolicyError};
use crate::data::augment::affine::{Resampling, Sampling};
use crate::data::augment::op::Op;
use crate::data::random::Draw;

/// An operation under torchvision's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum VisionOp {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Invert,
}

use VisionOp as V;

/// The magnitudes of operations: `bins` steps from no change to the strongest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionSpace {
    /// The number of magnitudes of an operation.
    pub bins: usize,
    /// The strongest shear.
    pub shear: f32,
    /// The largest translation in pixels; `None` for 150 / 331 of the image.
    pub translate: Option<f32>,
    /// The largest rotation in degrees.
    pub degrees: f32,
    /// The largest distance of a factor from 1.
    pub enhance: f32,
    /// The largest number of bits to remove.
    pub bits: f32,
}

impl VisionSpace {
    /// The magnitudes of `AutoAugment`.
    pub const AUTO: Self = Self {
        bins: 10,
        shear: 0.3,
        translate: None,
        degrees: 30.0,
        enhance: 0.9,
        bits: 4.0,
    };
    /// The magnitudes of `TrivialAugmentWide`.
    pub const WIDE: Self = Self {
        bins: 31,
        shear: 0.99,
        translate: Some(32.0),
        degrees: 135.0,
        enhance: 0.99,
        bits: 6.0,
    };

    /// The magnitude of step `bin` for an image of `size` (height, width); `None` if the operation
    /// has none.
    pub fn magnitude(&self, op: VisionOp, bin: usize, size: (usize, usize)) -> Option<f32> {
        let steps = |end: f32| self.linspace(0.0, end, bin);
        let pixels = |side: usize| {
            let relative = (150.0 / 331.0 * side as f64) as f32;
            steps(self.translate.unwrap_or(relative))
        };
        match op {
            V::Identity | V::AutoContrast | V::Equalize | V::Invert => None,
            V::ShearX | V::ShearY => Some(steps(self.shear)),
            V::TranslateX => Some(pixels(size.1)),
            V::TranslateY => Some(pixels(size.0)),
            V::Rotate => Some(steps(self.degrees)),
            V::Brightness | V::Color | V::Contrast | V::Sharpness => Some(steps(self.enhance)),
            V::Posterize => {
                let step = (self.bins as f32 - 1.0) / self.bits;
                Some(8.0 - (bin as f32 / step).round_ties_even())
            }
            V::Solarize => Some(self.linspace(255.0, 0.0, bin)),
        }
    }

    /// The operation at step `bin`; `None` for the identity. `negative` reverses changes that have two
    /// directions.
    pub fn op(&self, op: VisionOp, bin: usize, negative: bool, size: (usize, usize)) -> Option<Op> {
        let magnitude = f64::from(self.magnitude(op, bin, size).unwrap_or(0.0));
        let signed = if negative { -magnitude } else { magnitude };
        let factor = (1.0 + signed) as f32;
        let sampling = Sampling {
            resampling: Resampling::Nearest,
            fill: [0; 3],
        };
        Some(match op {
            V::Identity => return None,
            V::ShearX => Op::ShearX(signed, sampling),
            V::ShearY => Op::ShearY(signed, sampling),
            // torchvision moves to the right and down, by whole pixels.
            V::TranslateX => Op::TranslateX(-signed.trunc(), sampling),
            V::TranslateY => Op::TranslateY(-signed.trunc(), sampling),
            V::Rotate => Op::Rotate(signed, sampling),
            V::Brightness => Op::Brightness(factor),
            V::Color => Op::Color(factor),
            V::Contrast => Op::Contrast(factor),
            V::Sharpness => Op::Sharpness(factor),
            V::Posterize => Op::Posterize(magnitude as i32),
            V::Solarize => Op::Solarize(magnitude),
            V::AutoContrast => Op::AutoContrast,
            V::Equalize => Op::Equalize,
            V::Invert => Op::Invert,
        })
    }

    /// Element `i` of PyTorch's `linspace(start, end, bins)`, which counts from the nearer end. With
    /// AVX2, PyTorch rounds some elements differently; one translation of TrivialAugment is then 15
    /// pixels instead of 16.
    fn linspace(&self, start: f32, end: f32, i: usize) -> f32 {
        let step = (end - start) / (self.bins - 1) as f32;
        if i < self.bins / 2 {
            start + step * i as f32
        } else {
            end - step * (self.bins - 1 - i) as f32
        }
    }
}

pub(super) const CIFAR10: &str = "cifar10";
pub(super) const TRIVIAL: &str = "trivial";

/// Refuses parameters.
pub(super) fn parse(name: &'static str, text: Option<&str>) -> Result<(), PolicyError> {
    Parameters::parse(name, text, &[]).map(|_| ())
}

/// An operation, its probability and its step.
pub type VisionRow = (VisionOp, f64, usize);

/// The sub-policies of `AutoAugmentPolicy.CIFAR10`. Operations without magnitude have step 0.
pub const CIFAR10_POLICY: [[VisionRow; 2]; 25] = [
    [(V::Invert, 0.1, 0), (V::Contrast, 0.2, 6)],
    [(V::Rotate, 0.7, 2), (V::TranslateX, 0.3, 9)],
    [(V::Sharpness, 0.8, 1), (V::Sharpness, 0.9, 3)],
    [(V::ShearY, 0.5, 8), (V::TranslateY, 0.7, 9)],
    [(V::AutoContrast, 0.5, 0), (V::Equalize, 0.9, 0)],
    [(V::ShearY, 0.2, 7), (V::Posterize, 0.3, 7)],
    [(V::Color, 0.4, 3), (V::Brightness, 0.6, 7)],
    [(V::Sharpness, 0.3, 9), (V::Brightness, 0.7, 9)],
    [(V::Equalize, 0.6, 0), (V::Equalize, 0.5, 0)],
    [(V::Contrast, 0.6, 7), (V::Sharpness, 0.6, 5)],
    [(V::Color, 0.7, 7), (V::TranslateX, 0.5, 8)],
    [(V::Equalize, 0.3, 0), (V::AutoContrast, 0.4, 0)],
    [(V::TranslateY, 0.4, 3), (V::Sharpness, 0.2, 6)],
    [(V::Brightness, 0.9, 6), (V::Color, 0.2, 8)],
    [(V::Solarize, 0.5, 2), (V::Invert, 0.0, 0)],
    [(V::Equalize, 0.2, 0), (V::AutoContrast, 0.6, 0)],
    [(V::Equalize, 0.2, 0), (V::Equalize, 0.6, 0)],
    [(V::Color, 0.9, 9), (V::Equalize, 0.6, 0)],
    [(V::AutoContrast, 0.8, 0), (V::Solarize, 0.2, 8)],
    [(V::Brightness, 0.1, 3), (V::Color, 0.7, 0)],
    [(V::Solarize, 0.4, 5), (V::AutoContrast, 0.9, 0)],
    [(V::TranslateY, 0.9, 9), (V::TranslateY, 0.7, 9)],
    [(V::AutoContrast, 0.9, 0), (V::Solarize, 0.8, 3)],
    [(V::Equalize, 0.8, 0), (V::Invert, 0.1, 0)],
    [(V::TranslateY, 0.7, 9), (V::AutoContrast, 0.9, 0)],
];

/// One sub-policy, each of its operations with its probability and a random direction.
pub(super) fn draw_cifar10(setting: &Setting, draw: &mut Draw) -> Vec<Op> {
    let rows = CIFAR10_POLICY[draw.below(CIFAR10_POLICY.len())];
    let ops = rows.iter().filter_map(|&(op, probability, bin)| {
        let (applied, negative) = (draw.chance(probability), draw.chance(0.5));
        let op = || VisionSpace::AUTO.op(op, bin, negative, setting.size);
        applied.then(op).flatten()
    });
    ops.collect()
}

/// The operations of TrivialAugment.
pub const TRIVIAL_OPS: [VisionOp; 14] = [
    V::Identity,
    V::ShearX,
    V::ShearY,
    V::TranslateX,
    V::TranslateY,
    V::Rotate,
    V::Brightness,
    V::Color,
    V::Contrast,
    V::Sharpness,
    V::Posterize,
    V::Solarize,
    V::AutoContrast,
    V::Equalize,
];

/// One operation at a random step and in a random direction.
pub(super) fn draw_trivial(setting: &Setting, draw: &mut Draw) -> Vec<Op> {
    let space = VisionSpace::WIDE;
    let op = TRIVIAL_OPS[draw.below(TRIVIAL_OPS.len())];
    let (bin, negative) = (draw.below(space.bins), draw.chance(0.5));
    space
        .op(op, bin, negative, setting.size)
        .into_iter()
        .collect()
}
