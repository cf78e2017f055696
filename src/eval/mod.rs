//! Evaluation: accuracy, loss and calibration of a network over labelled images, alone and compared
//! with another network.

mod calibration;
mod comparison;
mod estimate;
mod metrics;
mod prediction;
mod tta;

pub use calibration::{Bin, Calibration};
pub use comparison::{Change, Comparison};
pub use estimate::Estimate;
pub use metrics::{Evaluation, Totals, evaluate, evaluate_subset, totals};
pub use prediction::{Prediction, predict};
pub use tta::Mirrored;
