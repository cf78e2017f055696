//! `metrics.jsonl`: one line of JSON for each epoch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::base::{Observer, RunStart};
use crate::checkpoint::write_atomically;
use crate::train::error::TrainError;
use crate::train::record::EpochRecord;

/// Appends a line to a file for each epoch.
pub struct Metrics {
    path: PathBuf,
}

impl Metrics {
    /// Writes to `path`.
    pub fn new(path: &Path) -> Self {
        let path = path.to_path_buf();
        Self { path }
    }
}

fn line(record: &EpochRecord) -> std::io::Result<String> {
    Ok(serde_json::to_string(record)? + "\n")
}

impl Observer for Metrics {
    /// Rewrites the file from the records: a killed run may have written lines for epochs that its state
    /// does not have.
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        let lines = run
            .records
            .iter()
            .map(line)
            .collect::<std::io::Result<String>>();
        lines
            .and_then(|lines| write_atomically(&self.path, |f| f.write_all(lines.as_bytes())))
            .map_err(TrainError::io(&self.path))
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let append = || {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(line(record)?.as_bytes())
        };
        append().map_err(TrainError::io(&self.path))
    }
}
