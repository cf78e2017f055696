//! The folder of a run: its files, and the lock against a second process.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::error::TrainError;
use crate::checkpoint::write_atomically;

/// A run folder, locked until it is dropped. If the process dies, the system releases the lock.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// The resolved configuration of the run.
pub const CONFIG: &str = "config.toml";
/// One JSON line for each epoch.
pub const METRICS: &str = "metrics.jsonl";
/// The outcome.
pub const SUMMARY: &str = "summary.json";
/// The weights with the best evaluation.
pub const BEST: &str = "best.safetensors";
/// The weights after the last epoch.
pub const LAST: &str = "last.safetensors";
/// The state for resuming.
pub const STATE: &str = "state.safetensors";
/// The training curve.
pub const CURVE: &str = "curve.svg";

impl RunFolder {
    /// Creates the folder of a new run.
    ///
    /// # Errors
    /// The folder is not writable, is in use, or holds a run.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::io(path))?;
        let folder = Self::lock(path)?;
        if folder.file(CONFIG).exists() {
            return Err(TrainError::FolderTaken(path.to_path_buf()));
        }
        Ok(folder)
    }

    /// Opens the folder of a run to resume.
    ///
    /// # Errors
    /// The folder is not writable, is in use, or holds no run.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        for missing in [CONFIG, STATE] {
            if !path.join(missing).is_file() {
                let folder = path.to_path_buf();
                return Err(TrainError::NothingToResume { folder, missing });
            }
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, TrainError> {
        let file = path.join(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .map_err(TrainError::io(&file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_path_buf(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(TrainError::FolderInUse(path.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(TrainError::io(&file)(source)),
        }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a text file atomically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), TrainError> {
        let path = self.file(name);
        write_atomically(&path, |file| file.write_all(text.as_bytes()))
            .map_err(TrainError::io(&path))
    }
}
