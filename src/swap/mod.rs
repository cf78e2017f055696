//! Activation swaps: the effect of another activation on trained weights.
//!
//! [`study()`] replaces the activation of a trained network and measures the network without further
//! changes (zero-shot), with recalibrated batch-norm statistics, after fine-tuning, layer by layer,
//! and on perturbed images.

mod fine_tune;
mod logits;
mod options;
mod page;
mod parts;
mod report;
mod robustness;
mod study;
mod variant;

pub use fine_tune::FineTune;
pub use options::{SwapData, SwapOptions};
pub use report::{
    Failure, LayerRow, Perturbation, Recovery, RecoveryPoint, Robustness, Row, Stage, SwapReport,
};
pub use study::study;
pub use variant::{Builder, Forward, Replacement, Variant};
