//! Reading a checkpoint of one or several files.

use std::path::Path;

use super::content::{Checkpoint, ReadOptions};
use super::format::{self, Format};
use super::{CheckpointError, file, index, safetensors};

/// Reads a checkpoint onto the CPU with the default [`ReadOptions`]; see [`read_with`].
///
/// # Errors
/// As [`read_with`].
pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    read_with(path, &ReadOptions::default())
}

/// Reads the bytes of a safetensors file onto the CPU. `path` names them in errors.
///
/// # Errors
/// The bytes are no safetensors file.
pub fn read_bytes(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    safetensors::parse(path, bytes)
}

/// Reads a checkpoint onto the CPU. The content decides the format, not the name:
///
/// - a safetensors file;
/// - a PyTorch file (`.pth`, `.pt`, `.bin`, `.th`, `.ckpt`): the zip archives of PyTorch 1.6 and newer,
///   the two older formats, and pickles of tensors or NumPy arrays;
/// - the index of a checkpoint in several files (`model.safetensors.index.json`,
///   `pytorch_model.bin.index.json`), or a folder with one.
///
/// Pickles are never executed. A PyTorch file can hold several tables of weights at any depth:
/// the tables of a training state under `state_dict_ema`, `model_ema`, `state_dict`, `model_state_dict` or
/// `model` come first, in this order, then the one with the most tensors. Optimizer states do not
/// count. [`Checkpoint::notes`] reports a choice, and `state_dict_key` names another table. A whole
/// pickled module is read as its `state_dict()`.
///
/// Tensors keep their type. Types that Candle lacks become a wider one: booleans u8, i8 i16, u16
/// u32, u64 i64, f8 (e4m3) f16.
///
/// # Errors
/// The file is missing, incomplete, has another format, holds no weights, or has no table
/// `state_dict_key`.
pub fn read_with(path: &Path, options: &ReadOptions) -> Result<Checkpoint, CheckpointError> {
    if path.is_dir() {
        return index::read(&index::in_folder(path)?, options);
    }
    match format::detect(path)? {
        Format::Index => index::read(path, options),
        Format::Safetensors | Format::Pytorch(_) => file::read(path, options),
    }
}
