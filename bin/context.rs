//! The settings that all commands share.

use std::time::Instant;

use candle_mish::train::communicator::Launched;
use indicatif::MultiProgress;

/// The settings from the global flags, and the terminal's progress bars.
pub struct Context {
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Number of threads that compute.
    pub threads: usize,
    /// The place of this process among the ranks that a launcher started.
    pub launched: Option<Launched>,
    /// The start of the process.
    pub started: Instant,
    /// The progress bars on the terminal. Log lines are printed above them.
    pub bars: MultiProgress,
}
