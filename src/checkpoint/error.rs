//! Errors of checkpoints.

use std::path::{Path, PathBuf};

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The system refused to read the file.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The system refused to write the file.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Not safetensors, cut off, or with a header that does not describe the file.
    #[error("{} is not a valid safetensors file: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A PyTorch file that is damaged or holds something other than weights.
    #[error("{} cannot be read as PyTorch weights: {reason}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// darknet weights that are incomplete, or that belong to another network.
    #[error("{} cannot be read as darknet weights: {reason}", path.display())]
    Darknet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A PyTorch file without the table of weights that the caller names.
    #[error("{} has no table of weights '{key}' (state_dict_key); it has {tables}", path.display())]
    StateDictKey {
        /// The file.
        path: PathBuf,
        /// The name that the caller gave.
        key: String,
        /// The tables that there are.
        tables: String,
    },
    /// An index of shards that does not describe the files.
    #[error("{} is not a valid index of a checkpoint: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that is not a checkpoint.
    #[error("{} is {what}: {remedy}", path.display())]
    NotWeights {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A tensor that Candle cannot hold.
    #[error("cannot load tensor '{tensor}' of {}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The key.
        tensor: String,
        /// Candle's error.
        source: Box<candle_core::Error>,
    },
    /// A value that cannot be copied into the network.
    #[error("cannot load {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Candle's error.
        source: Box<candle_core::Error>,
    },
}

impl CheckpointError {
    /// Adds the path to an error of reading.
    pub(super) fn read(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Read {
            path: path.clone(),
            source,
        }
    }

    /// Adds the path to an error of writing.
    pub(super) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Write { path, source }
    }

    /// Adds the path to the reason why a file is not a safetensors file.
    pub(super) fn invalid(path: &Path) -> impl Fn(String) -> Self {
        let path = path.to_path_buf();
        move |reason| Self::Invalid {
            path: path.clone(),
            reason,
        }
    }
}

/// The first line of an error. Candle's errors may have a backtrace after it.
pub(super) fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    text.replace(|c: char| c.is_control(), " ")
}
