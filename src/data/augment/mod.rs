//! Random changes to training images, and their conversion to normalised floats.
//!
//! [`Op`] is one change with all its parameters: it has no randomness, and its bytes equal
//! Pillow 13's. [`PixelAugmentation`] draws operations: [`AutoAugment`] by timm's notation,
//! [`ColorJitter`], rotation, flips, blur. [`Augmentation`] adds the crop and the horizontal flip.

mod affine;
mod augmentation;
mod blur;
mod colour;
mod crop;
mod jitter;
mod normalise;
mod op;
mod pixels;
mod policy;
mod table;

pub use affine::{Resampling, Sampling};
pub use augmentation::{Augmentation, PadMode};
pub(super) use crop::Placement;
pub use jitter::ColorJitter;
pub(super) use normalise::Normaliser;
pub(crate) use normalise::channel_moments;
pub use op::Op;
pub use pixels::PixelAugmentation;
pub(super) use pixels::mean_colour;
pub use policy::{
    AugMix, AutoAugment, CIFAR10_POLICY, Entry, Level, Mix, OpKind, Policy, PolicyError,
    RandAugment, Setting, Spread, SubPolicies, TRIVIAL_OPS, VisionOp, VisionRow, VisionSpace,
};
