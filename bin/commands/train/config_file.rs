//! The file of a run's configuration.

use std::io::ErrorKind;
use std::path::PathBuf;

use candle_mish::checkpoint::write_atomically;
use candle_mish::train::observer::{Observer, RunStart};
use candle_mish::train::run_folder::{CONFIG, SUMMARY};
use candle_mish::train::{RunFolder, TrainError};

/// Writes `config.toml` when a run starts, or continues with more epochs.
///
/// A folder with this file holds a run that can be resumed, so it is written after the first state. A
/// run that cannot continue does not start, and keeps its file.
pub(super) struct ConfigFile {
    config: PathBuf,
    summary: PathBuf,
    text: String,
}

impl ConfigFile {
    pub(super) fn new(folder: &RunFolder, text: String) -> Self {
        Self {
            config: folder.file(CONFIG),
            summary: folder.file(SUMMARY),
            text,
        }
    }
}

impl Observer for ConfigFile {
    fn start(&mut self, _run: &RunStart<'_>) -> Result<(), TrainError> {
        let written = write_atomically(&self.config, |file| file.write_all(self.text.as_bytes()));
        written.map_err(|source| TrainError::Io {
            path: self.config.clone(),
            source,
        })?;
        // It describes the shorter run.
        match std::fs::remove_file(&self.summary) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(TrainError::Io {
                path: self.summary.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }
}
