//! Activation swaps: another activation for trained weights.
//!
//! [`study()`] replaces the activation of a trained network and measures the network without further
//! changes (zero-shot), with recalibrated batch-norm statistics, after corrections without training,
//! after distillation from the original and after fine-tuning, layer by layer, and on perturbed images.
//! It can save the weights of each of these and search the layers that can be swapped at a given loss
//! of accuracy.

mod approximation;
mod budget;
mod correction;
mod distillation;
mod findings;
mod fine_tune;
mod inputs;
mod logits;
mod options;
mod page;
mod parts;
mod report;
mod robustness;
mod save;
mod single_parts;
mod study;
mod variant;
mod words;

pub use correction::Correction;
pub use distillation::Distillation;
pub use fine_tune::{BlendOrder, FineTune};
pub use options::{Budget, SwapData, SwapOptions};
pub use report::{
    Approximation, BudgetSearch, BudgetStep, Failure, LayerRow, Line, Perturbation, Recovery,
    RecoveryPoint, Robustness, Row, Stage, SwapReport,
};
pub use save::{SWAP, SaveOptions, SwapRecord};
pub use study::study;
pub use variant::{Builder, Forward, Replacement, Variant};
