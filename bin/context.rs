//! The settings that all commands share.

use indicatif::MultiProgress;

/// The settings from the global flags, and the terminal's progress bars.
pub struct Context {
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Number of threads that compute.
    pub threads: usize,
    /// The progress bars on the terminal. Log lines are printed above them.
    pub bars: MultiProgress,
}
