//! The file of a run's configuration.

use std::path::{Path, PathBuf};

use candle_mish::checkpoint::write_atomically;
use candle_mish::train::TrainError;
use candle_mish::train::observer::{Observer, RunStart};

/// Writes `config.toml` when a run starts. A folder with this file holds a run that can be resumed, so
/// it is written after the first state.
pub(super) struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_path_buf(),
            text,
        }
    }
}

impl Observer for ConfigFile {
    fn start(&mut self, _run: &RunStart<'_>) -> Result<(), TrainError> {
        if self.path.exists() {
            // A run that continues.
            return Ok(());
        }
        let written = write_atomically(&self.path, |file| file.write_all(self.text.as_bytes()));
        written.map_err(|source| TrainError::Io {
            path: self.path.clone(),
            source,
        })
    }
}
