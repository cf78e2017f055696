//! The folder of a run: its files, and the lock against a second process.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::TrainError;
use super::lease::{Attempt, EXPIRY, Holder, Lease};
use crate::checkpoint::{remove_temporary_files, write_atomically};
use crate::lock::{Lock, TryLock, lock};

/// A run folder, in use by this process until it is dropped.
///
/// A lock keeps out the other processes of this computer. If the process dies, the system releases it.
/// A lease keeps out other computers, to which not every network file system carries locks. If the
/// process dies, the lease expires after three minutes.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// None for a rank that does not use the folder.
    lease: Option<Lease>,
    _lock: Option<File>,
}

/// The resolved configuration of the run.
pub const CONFIG: &str = "config.toml";
/// One JSON line for each epoch.
pub const METRICS: &str = "metrics.jsonl";
/// One CSV row for each epoch, with timm's columns.
pub const SUMMARY_CSV: &str = "summary.csv";
/// The folder with event files for TensorBoard.
pub const TENSORBOARD: &str = "tensorboard";
/// The processes that trained, one JSON line each.
pub const SESSIONS: &str = "sessions.jsonl";
/// The report of the finished run.
pub const REPORT: &str = "report.html";
/// The outcome.
pub const SUMMARY: &str = "summary.json";
/// The weights with the best evaluation.
pub const BEST: &str = "best.safetensors";
/// The weights after the last epoch.
pub const LAST: &str = "last.safetensors";
/// The exponential moving average of the weights with the best evaluation.
pub const BEST_EMA: &str = "best_ema.safetensors";
/// The average that [`BEST_EMA`] replaced, kept as long as [`PREVIOUS_BEST`].
pub const PREVIOUS_BEST_EMA: &str = "best_ema.previous.safetensors";
/// The exponential moving average of the weights after the last epoch.
pub const LAST_EMA: &str = "last_ema.safetensors";
/// The mean of the weights of several epochs: stochastic weight averaging.
pub const SWA: &str = "swa.safetensors";
/// The weights that [`BEST`] replaced. They are kept as long as the state in [`PREVIOUS_STATE`] may
/// need them.
pub const PREVIOUS_BEST: &str = "best.previous.safetensors";
/// The newest state, for resuming.
pub const STATE: &str = "state.safetensors";
/// The state before [`STATE`], for resuming if that file is damaged.
pub const PREVIOUS_STATE: &str = "state.previous.safetensors";
/// The weights of an epoch are `checkpoint-EPOCH.safetensors`, as timm names them.
const CHECKPOINT: &str = "checkpoint-";
const EXTENSION: &str = ".safetensors";
/// The training curve.
pub const CURVE: &str = "curve.svg";

impl RunFolder {
    /// Creates the folder of a new run.
    ///
    /// # Errors
    /// The folder is not writable, is in use, or holds a run.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(path).map_err(TrainError::io(path))?;
        let folder = Self::lock(path, File::try_lock)?;
        if folder.file(CONFIG).exists() {
            return Err(TrainError::FolderTaken(path.to_path_buf()));
        }
        Ok(folder)
    }

    /// As [`RunFolder::create`], in a folder that is new, empty, or as a run leaves it that ended before
    /// it could be resumed.
    ///
    /// # Errors
    /// As [`RunFolder::create`], or [`TrainError::FolderNotEmpty`] if the folder holds anything else.
    pub fn create_new(path: &Path) -> Result<Self, TrainError> {
        // A run that another process started in the meantime is refused as such.
        let own = [SESSIONS, STATE, PREVIOUS_STATE];
        match foreign_entry(path, &own).filter(|_| !path.join(CONFIG).exists()) {
            None => Self::create(path),
            Some(entry) => Err(TrainError::FolderNotEmpty {
                folder: path.to_path_buf(),
                entry,
            }),
        }
    }

    /// Opens the folder of a run to resume.
    ///
    /// # Errors
    /// The folder is not writable, is in use, or holds no run.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        for (missing, other) in [(CONFIG, CONFIG), (STATE, PREVIOUS_STATE)] {
            if !path.join(missing).is_file() && !path.join(other).is_file() {
                let folder = path.to_path_buf();
                return Err(TrainError::NothingToResume { folder, missing });
            }
        }
        let folder = Self::lock(path, File::try_lock)?;
        remove_temporary_files(path).map_err(TrainError::io(path))?;
        Ok(folder)
    }

    /// The folder of a run for a rank that writes no files in it. For a new run, it need not exist on this
    /// computer.
    pub fn of_rank_0(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            lease: None,
            _lock: None,
        }
    }

    fn lock(path: &Path, try_lock: TryLock) -> Result<Self, TrainError> {
        let name = path.join(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(TrainError::io(&name))?;
        let alone = match lock(&file, try_lock) {
            Lock::Held => true,
            Lock::InUse => return Err(TrainError::FolderInUse(path.to_path_buf())),
            Lock::Unavailable(error) => {
                tracing::debug!("{}: {error}", name.display());
                false
            }
        };
        let attempt = Lease::take(path, &Holder::this_process(), alone);
        match attempt.map_err(TrainError::io(path))? {
            Attempt::Held(lease) => Ok(Self {
                path: path.to_path_buf(),
                lease: Some(lease),
                _lock: Some(file),
            }),
            Attempt::InUse { computer, silent } => Err(TrainError::FolderLeased {
                folder: path.to_path_buf(),
                computer,
                silent,
                // In whole seconds, as people read both times.
                left: EXPIRY.saturating_sub(Duration::from_secs(silent.as_secs())),
            }),
        }
    }

    /// Checks that no other process has taken the folder over, as may happen while this one is suspended
    /// for minutes.
    ///
    /// # Errors
    /// If another process has taken it over.
    pub fn check_held(&self) -> Result<(), TrainError> {
        match self.lease.as_ref().is_none_or(Lease::is_held) {
            true => Ok(()),
            false => Err(TrainError::FolderLost(self.path.clone())),
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

    /// The path of the weights of an epoch, counted from 1.
    pub fn checkpoint(&self, epoch: usize) -> PathBuf {
        self.file(&format!("{CHECKPOINT}{epoch}{EXTENSION}"))
    }

    /// The epochs that have a file [`RunFolder::checkpoint`].
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<usize>, TrainError> {
        let read = || -> std::io::Result<Vec<usize>> {
            let mut epochs = Vec::new();
            for entry in std::fs::read_dir(&self.path)? {
                let name = entry?.file_name();
                let name = name.to_string_lossy();
                let epoch = name.strip_prefix(CHECKPOINT);
                let epoch = epoch.and_then(|name| name.strip_suffix(EXTENSION));
                epochs.extend(epoch.and_then(|epoch| epoch.parse::<usize>().ok()));
            }
            Ok(epochs)
        };
        read().map_err(TrainError::io(&self.path))
    }

    /// Removes a file of the folder, if it exists.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<(), TrainError> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrainError::io(path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Gives the file `from` of the folder the name `to`, if it exists.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), TrainError> {
        let path = self.file(from);
        match std::fs::rename(&path, self.file(to)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrainError::io(&path)(error))
            }
            _ => Ok(()),
        }
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

/// The first entry of a folder, by name, that is not one of `own`. Hidden files do not count: locks, leases
/// and temporary files have such names.
pub fn foreign_entry(folder: &Path, own: &[&str]) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_foreign = |name: &String| !name.starts_with('.') && !own.contains(&name.as_str());
    names.filter(is_foreign).min()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, TryLockError};
    use std::io::{Error, ErrorKind};

    use super::{CONFIG, RunFolder, SESSIONS, STATE, TrainError};

    /// As NFS without its lock service: ENOLCK on Linux.
    fn no_locks(_: &File) -> Result<(), TryLockError> {
        Err(TryLockError::Error(Error::from_raw_os_error(37)))
    }

    /// As FUSE and Lustre without locks: ENOSYS, EOPNOTSUPP.
    fn unsupported(_: &File) -> Result<(), TryLockError> {
        Err(TryLockError::Error(ErrorKind::Unsupported.into()))
    }

    fn in_use(_: &File) -> Result<(), TryLockError> {
        Err(TryLockError::WouldBlock)
    }

    #[test]
    fn a_new_run_replaces_no_other_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        // What a run leaves that is killed at its start.
        for name in [SESSIONS, STATE, ".write-1"] {
            std::fs::write(path.join(name), "").expect("written");
        }
        RunFolder::create_new(path).expect("usable");
        std::fs::write(path.join("val"), "").expect("written");
        std::fs::write(path.join("best.safetensors"), "").expect("written");
        let error = RunFolder::create_new(path).expect_err("not empty");
        let TrainError::FolderNotEmpty { entry, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(entry, "best.safetensors");
        std::fs::write(path.join(CONFIG), "").expect("written");
        let error = RunFolder::create_new(path).expect_err("a run");
        assert!(matches!(error, TrainError::FolderTaken(_)), "{error}");
    }

    #[test]
    fn a_file_system_without_locks_has_usable_run_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        for try_lock in [no_locks, unsupported] {
            let run = RunFolder::lock(folder.path(), try_lock).expect("usable");
            run.write_text("config.toml", "x").expect("written");
            assert_eq!(std::fs::read(run.file("config.toml")).expect("read"), b"x");
            let error = RunFolder::lock(folder.path(), try_lock).expect_err("leased");
            assert!(matches!(error, TrainError::FolderLeased { .. }), "{error}");
            run.check_held().expect("held");
        }
        let error = RunFolder::lock(folder.path(), in_use).expect_err("in use");
        assert!(matches!(error, TrainError::FolderInUse(_)), "{error}");
    }
}
