//! Checkpoints: safetensors files with PyTorch's keys and a header with metadata. [`read`] also reads
//! PyTorch's own files of all ages, and checkpoints in several files.

mod average;
mod checksum;
mod content;
pub mod darknet;
mod element;
mod error;
mod file;
mod format;
mod index;
mod pytorch;
mod read;
mod safetensors;
mod store;
mod write;

pub use crate::atomic::{
    AtomicFile, check_writable, remove_temporary_files, sync_folder, write_atomically,
};
pub use average::average;
pub use checksum::{read_checked, write_checked};
pub use content::{Checkpoint, ReadOptions};
pub use error::CheckpointError;
pub use read::{read, read_bytes, read_with};
pub use write::write;
