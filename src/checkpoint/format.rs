//! What a file is, by its content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::CheckpointError;
use super::darknet;
use super::pytorch::{self, PytorchFormat};

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Pytorch(PytorchFormat),
    /// The index of a checkpoint in several files.
    Index,
}

/// The first bytes that decide.
const START: usize = 1024;
/// The position of the magic of a tar archive.
const USTAR: std::ops::Range<usize> = 257..262;
/// Formats that are no checkpoint of PyTorch or safetensors: the first bytes, what it is, and what to do.
const OTHERS: [(&[u8], &str, &str); 17] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, not the file itself",
        "run `git lfs pull` in its repository, or download the file from its page",
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file of Keras or TensorFlow",
        "convert its weights to safetensors with PyTorch's keys in Python",
    ),
    (
        b"GGUF",
        "a GGUF file of a language model",
        "name a safetensors or PyTorch file",
    ),
    (
        b"\x93NUMPY",
        "one NumPy array",
        "store the weights by name in a safetensors file",
    ),
    (b"\x1f\x8b", "compressed with gzip", "decompress it first"),
    (b"BZh", "compressed with bzip2", "decompress it first"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it first"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd",
        "decompress it first",
    ),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "extract it first"),
    (b"\x89PNG", "a PNG image", "name the weights"),
    (b"\xff\xd8\xff", "a JPEG image", "name the weights"),
    (b"PAR1", "a Parquet file", "name the weights"),
    (b"%PDF", "a PDF document", "name the weights"),
    (b"\x7fELF", "a program", "name the weights"),
    (
        b"Entry not found",
        "an error message of the Hugging Face Hub",
        "check the address and download it again",
    ),
    (
        b"Invalid username or password",
        "an error message of the Hugging Face Hub",
        "log in and download it again",
    ),
];

/// Decides the format of a file.
///
/// # Errors
/// The file cannot be read, is empty, or is recognised as something other than a checkpoint.
pub(super) fn detect(path: &Path) -> Result<Format, CheckpointError> {
    let io = CheckpointError::read(path);
    let file = File::open(path).map_err(&io)?;
    let length = file.metadata().map_err(&io)?.len();
    let mut start = Vec::with_capacity(START);
    file.take(START as u64)
        .read_to_end(&mut start)
        .map_err(&io)?;
    let not_weights = |what: &str, remedy: &str| CheckpointError::NotWeights {
        path: path.to_path_buf(),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    };
    if start.is_empty() {
        return Err(not_weights("an empty file", "download or copy it again"));
    }
    if start.iter().all(|byte| *byte == 0) {
        return Err(not_weights("full of zeros", "download or copy it again"));
    }
    if is_safetensors(&start, length) {
        return Ok(Format::Safetensors);
    }
    for (magic, what, remedy) in OTHERS {
        if start.starts_with(magic) {
            return Err(not_weights(what, remedy));
        }
    }
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Ok(Format::Pytorch(PytorchFormat::Zip));
    }
    if start.get(USTAR) == Some(b"ustar") {
        return Ok(Format::Pytorch(PytorchFormat::Tar));
    }
    if pytorch::is_magic(&start) {
        return Ok(Format::Pytorch(PytorchFormat::Legacy));
    }
    if darknet::is_header(&start, length) {
        let remedy = "load it as the weights of a network, with its .cfg in the same folder";
        return Err(not_weights(
            "a darknet file, which names no tensors",
            remedy,
        ));
    }
    let text = start.trim_ascii_start();
    if is_pickle(&start) {
        return Ok(Format::Pytorch(PytorchFormat::Pickle));
    }
    if text.starts_with(b"{") {
        return Ok(Format::Index);
    }
    if is_html(text) {
        let remedy = "download the file itself: the address shows a page, or needs a login";
        return Err(not_weights("an HTML page", remedy));
    }
    if let Some((what, remedy)) = of_protobuf(&start) {
        return Err(not_weights(what, remedy));
    }
    if is_msgpack(&start) {
        let remedy = "convert its weights to safetensors with PyTorch's keys in Python";
        return Err(not_weights("a msgpack file of Flax", remedy));
    }
    if start.get(4..8) == Some(b"TFL3") {
        let remedy = "name a safetensors or PyTorch file";
        return Err(not_weights("a TensorFlow Lite model", remedy));
    }
    if path.extension().is_some_and(|name| name != "safetensors") {
        return Err(not_weights(
            "neither a PyTorch nor a safetensors file",
            "it may be incomplete, download or copy it again",
        ));
    }
    // Its reader says what is wrong.
    Ok(Format::Safetensors)
}

/// Whether a file starts with the length of a header that it can have, or with a length and a JSON
/// object, in a file that was cut. No text and no pickle does.
fn is_safetensors(start: &[u8], length: u64) -> bool {
    let header = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    header.is_some_and(|header| {
        header <= length.saturating_sub(8) || (header < 1 << 40 && start.get(8) == Some(&b'{'))
    })
}

/// Whether a file starts like a pickle of protocol 2 or newer, or a dictionary in protocol 0 or 1.
fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, ..])
        || [
            &b"(dp"[..],
            b"(d.",
            b"(dq",
            b"}q",
            b"}r",
            b"ccollections\n",
            b"(lp",
            b"]q",
        ]
        .iter()
        .any(|first| start.starts_with(first))
}

fn is_html(text: &[u8]) -> bool {
    let start = text.get(..text.len().min(16)).unwrap_or_default();
    let start = start.to_ascii_lowercase();
    [&b"<!doctype"[..], b"<html", b"<head", b"<?xml", b"<!--"]
        .iter()
        .any(|tag| start.starts_with(tag))
}

/// ONNX and TensorFlow's saved models start with a small version number, as protocol buffers store it.
fn of_protobuf(start: &[u8]) -> Option<(&'static str, &'static str)> {
    match start {
        [0x08, 1, 0x12, ..] => Some((
            "a saved model of TensorFlow",
            "convert its weights to safetensors with PyTorch's keys in Python",
        )),
        // The version, then another field of the model.
        [
            0x08,
            2..=32,
            0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42,
            ..,
        ] => Some((
            "an ONNX model",
            "name the safetensors or PyTorch file that it was exported from",
        )),
        _ => None,
    }
}

/// A map whose first key is text.
fn is_msgpack(start: &[u8]) -> bool {
    let key = match start {
        [0x81..=0x8f, key, ..] | [0xde, _, _, key, ..] | [0xdf, _, _, _, _, key, ..] => *key,
        _ => return false,
    };
    matches!(key, 0xa1..=0xbf | 0xd9..=0xdb)
}
