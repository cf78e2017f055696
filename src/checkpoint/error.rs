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
    /// A PyTorch format that only Python reads.
    #[error(
        "{} is {what}, which is not supported: in Python, load it with torch.load(path, \
         weights_only=True) and store its tensors with safetensors.torch.save_file, or save it again \
         with torch.save of PyTorch 1.6 or newer",
        path.display()
    )]
    Legacy {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
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

    /// Adds the path to the reason why a file is not a safetensors file.
    pub(super) fn invalid(path: &Path) -> impl Fn(String) -> Self {
        let path = path.to_path_buf();
        move |reason| Self::Invalid {
            path: path.clone(),
            reason,
        }
    }
}
