//! The settings that all commands share.

use std::time::Instant;

use indicatif::MultiProgress;

/// The settings from the global flags, and the terminal's progress bars.
pub struct Context {
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Number of threads that compute.
    pub threads: usize,
    /// The start of the process.
    pub started: Instant,
    /// The progress bars on the terminal. Log lines are printed above them.
    pub bars: MultiProgress,
}
