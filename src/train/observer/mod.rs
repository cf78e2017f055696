//! Observers of a run: metrics, event files, the training curve, progress bars and log lines.

mod base;
mod curve;
mod lines;
mod metrics;
mod progress;
mod summary_csv;
mod tensorboard;

pub use base::{Observer, RunStart, StepReport};
pub use curve::Curve;
pub use lines::Lines;
pub use metrics::Metrics;
pub use progress::Progress;
pub use summary_csv::SummaryCsv;
pub use tensorboard::{Probe, SampleImage, TensorBoard};
