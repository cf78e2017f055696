//! Policies: which operations an image gets, drawn at random.
//!
//! Drawing gives a list of [`Op`](super::Op)s or a [`Mix`], which then have no randomness.

mod augmix;
mod auto_augment;
mod entry;
mod level;
mod notation;
mod rand_augment;
mod sub_policies;
mod vision;

pub use augmix::{AugMix, Mix};
pub use auto_augment::{AutoAugment, Policy};
pub use entry::{Entry, Spread};
pub use level::{Level, OpKind, Setting};
pub use notation::PolicyError;
pub use rand_augment::RandAugment;
pub use sub_policies::SubPolicies;
pub use vision::{CIFAR10_POLICY, TRIVIAL_OPS, VisionOp, VisionRow, VisionSpace};

#[cfg(test)]
mod tests;
