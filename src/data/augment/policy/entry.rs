//! An operation of a policy with its probability and magnitude.

use rand_distr::StandardNormal;

use super::level::{FULL, Level, OpKind, Setting};
use crate::data::augment::affine::Resampling;
use crate::data::augment::op::Op;
use crate::data::random::Draw;

/// How the magnitude of an operation varies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Always the given magnitude.
    None,
    /// Normal around the given magnitude, with this standard deviation.
    Normal(f64),
    /// Uniform between 0 and the given magnitude.
    Uniform,
}

/// An operation of a policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// The operation.
    pub kind: OpKind,
    /// The probability of applying it once it is chosen.
    pub probability: f64,
    /// Its magnitude.
    pub magnitude: f64,
}

/// What the entries of a policy have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Common {
    pub spread: Spread,
    /// The largest magnitude.
    pub max: f64,
    /// The largest translation as a share of the image.
    pub translate_pct: f64,
}

impl Default for Common {
    /// timm's default.
    fn default() -> Self {
        Self {
            spread: Spread::None,
            max: FULL,
            translate_pct: 0.45,
        }
    }
}

impl Entry {
    /// Draws whether to apply the operation, and its parameters.
    pub(super) fn draw(&self, common: &Common, setting: &Setting, draw: &mut Draw) -> Option<Op> {
        if !draw.chance(self.probability) {
            return None;
        }
        let magnitude = match common.spread {
            Spread::None => self.magnitude,
            Spread::Normal(std) => {
                let normal: f64 = draw.sample(&StandardNormal);
                self.magnitude + std * normal
            }
            Spread::Uniform => self.magnitude * f64::from(draw.unit()),
        };
        let level = Level {
            magnitude: magnitude.clamp(0.0, common.max),
            negative: draw.chance(0.5),
            share: f64::from(draw.unit()),
            resampling: if draw.chance(0.5) {
                Resampling::Bilinear
            } else {
                Resampling::Bicubic
            },
        };
        Some(self.kind.op(&level, common.translate_pct, setting))
    }
}
