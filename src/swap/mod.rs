//! What another activation does to trained weights.
//!
//! [`study`] puts activations into a network that was trained with another one and measures it:
//! as it is, with batch-norm statistics measured anew, after some training, layer by layer, and
//! on disturbed images.

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
    Disturbance, Failure, LayerRow, Recovery, RecoveryPoint, Robustness, Row, Stage, SwapReport,
};
pub use study::study;
pub use variant::{Builder, Forward, Replacement, Variant};
