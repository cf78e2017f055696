//! Losses, each as one node of the graph.

mod composed;
mod cpu;
mod cross_entropy;
mod distillation;
mod labels;
mod margin;
mod squared_error;

pub use cross_entropy::{CrossEntropy, Reduction, Target, cross_entropy};
pub use distillation::distillation_loss;
pub use margin::{Margin, margin_loss};
pub use squared_error::squared_error;
