//! What every command gets apart from its own flags.

use indicatif::MultiProgress;

/// The settings of one process that all commands share.
pub struct Context {
    /// Whether results are printed as JSON.
    pub json: bool,
    /// Number of threads that compute.
    pub threads: usize,
    /// The progress bars on the terminal. Log lines are printed above them.
    pub bars: MultiProgress,
}
