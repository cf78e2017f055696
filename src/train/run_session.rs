//! The processes that trained a run: a line of `sessions.jsonl` for each.

use std::fs::OpenOptions;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::run_folder::{RunFolder, SESSIONS};

/// A process that trained a run, and its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSession {
    /// The command line, for a shell.
    pub command: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Steps of the run at the start.
    pub step: u64,
    /// The version of this software.
    pub version: String,
    /// The operating system.
    pub system: String,
    /// The processor.
    pub processor: String,
    /// Its logical cores.
    pub cores: usize,
    /// Compute threads.
    pub threads: usize,
    /// The device that computed, such as `cpu`.
    pub device: String,
}

impl RunSession {
    /// Appends this process to the record of the run.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, folder: &RunFolder) -> Result<(), TrainError> {
        let path = folder.file(SESSIONS);
        let append = || {
            let line = serde_json::to_string(self)? + "\n";
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(line.as_bytes())
        };
        append().map_err(TrainError::io(&path))
    }
}
