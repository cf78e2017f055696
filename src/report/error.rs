//! Errors of reports.

use std::path::PathBuf;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The folder holds no run.
    #[error("{} holds no run: {missing} is missing", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
        /// The missing file.
        missing: &'static str,
    },
    /// The run has not finished an epoch.
    #[error("run {} has no finished epoch yet", .0.display())]
    NoEpoch(PathBuf),
    /// A file of the run cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file of the run is damaged.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, in one line.
        problem: String,
    },
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] crate::data::DataError),
}
