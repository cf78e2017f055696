//! Observers of a run: metrics, the training curve, progress bars and log lines.

mod base;
mod curve;
mod lines;
mod metrics;
mod progress;

pub use base::{Observer, RunStart, StepReport};
pub use curve::Curve;
pub use lines::Lines;
pub use metrics::Metrics;
pub use progress::Progress;
