//! Why a `.cfg` file does not describe a classifier.

/// Why a `.cfg` file does not describe a classifier that can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DarknetCfgError {
    /// The line of the section or the option, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl DarknetCfgError {
    pub(super) fn new(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
        }
    }
}
