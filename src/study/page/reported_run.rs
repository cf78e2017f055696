//! What the page shows of a run.

use crate::train::EpochRecord;

/// A run of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedRun {
    /// Its name, the name of its folder.
    pub name: String,
    /// The link to its folder or its own report.
    pub link: String,
    /// What became of it, in a word or two.
    pub state: String,
    /// The position of its cell.
    pub cell: usize,
    /// Its epochs.
    pub records: Vec<EpochRecord>,
}
