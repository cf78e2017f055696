//! Checkpoints: safetensors files with PyTorch's keys and a header with metadata. [`read`] also reads
//! PyTorch's own files.

mod atomic;
mod error;
mod pickle;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::tensor::TensorInfo;
use safetensors::{SafeTensors, View};

pub use atomic::{AtomicFile, check_writable, write_atomically};
pub use error::CheckpointError;

/// The content of a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// Tensors by key.
    pub tensors: HashMap<String, Tensor>,
    /// The key-value pairs of the header.
    pub metadata: BTreeMap<String, String>,
}

/// Writes tensors and metadata to `path` atomically: after an error or a crash, `path` has its old
/// content.
///
/// The bytes depend only on the arguments: equal weights give equal files.
///
/// # Errors
/// The folder is not writable or the disk is full.
pub fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), CheckpointError> {
    // Wide types first: this aligns every tensor for readers that map the file.
    let mut tensors: Vec<&(String, Tensor)> = tensors.iter().collect();
    tensors.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size_in_bytes()));
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_string(), serde_json::json!(metadata));
    let mut end = 0;
    for (name, tensor) in &tensors {
        let start = end;
        end += View::data_len(&tensor);
        let info = TensorInfo {
            dtype: View::dtype(&tensor),
            shape: tensor.dims().to_vec(),
            data_offsets: (start, end),
        };
        header.insert(name.clone(), serde_json::json!(info));
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    // The format requires that the data starts at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, tensor) in &tensors {
            file.write_all(&View::data(&tensor))?;
        }
        Ok(())
    })
    .map_err(|source| CheckpointError::Write {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a checkpoint onto the CPU: a safetensors file, or a file of PyTorch 1.6 or newer (`.pth`,
/// `.bin`). Pickles are never executed. The content decides the format, not the name.
///
/// # Errors
/// The file is missing, truncated, has another format, or its header does not describe it.
pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    if starts_with(path, &pickle::MAGIC)? {
        let tensors = pickle::read(path).map_err(|reason| CheckpointError::Pickle {
            path: path.to_path_buf(),
            reason,
        })?;
        return Ok(Checkpoint {
            tensors,
            metadata: BTreeMap::new(),
        });
    }
    if let Some(what) = legacy(path)? {
        return Err(CheckpointError::Legacy {
            path: path.to_path_buf(),
            what,
        });
    }
    let bytes = read_file(path)?;
    let invalid = CheckpointError::invalid(path);
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| invalid(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| invalid(e.to_string()))?;
    let load = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        if !is_addressable(view.shape()) {
            return Err(invalid(format!(
                "tensor '{name}' claims {:?} elements",
                view.shape()
            )));
        }
        let tensor = view.load(&Device::Cpu);
        let tensor = tensor.map_err(|source| CheckpointError::Tensor {
            path: path.to_path_buf(),
            tensor: name.clone(),
            source: Box::new(source),
        })?;
        Ok((name, tensor))
    };
    Ok(Checkpoint {
        tensors: file
            .tensors()
            .into_iter()
            .map(load)
            .collect::<Result<_, _>>()?,
        metadata: header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
    })
}

/// Whether the strides of a shape fit a `usize`. They may overflow where another dimension of 0 makes
/// the tensor empty.
fn is_addressable(shape: &[usize]) -> bool {
    let mut sizes = shape.iter().map(|size| (*size).max(1));
    let elements = sizes.try_fold(1usize, |product, size| product.checked_mul(size));
    elements.is_some_and(|elements| elements <= isize::MAX as usize / size_of::<f64>())
}

/// Whether a file starts with `bytes`.
fn starts_with(path: &Path, bytes: &[u8]) -> Result<bool, CheckpointError> {
    Ok(start(path, bytes.len())? == bytes)
}

/// The name of an older PyTorch format, if the file has one. No safetensors file starts like this:
/// its first eight bytes are a length, which would exceed the length of the file.
fn legacy(path: &Path) -> Result<Option<&'static str>, CheckpointError> {
    /// A protocol 2 pickle of the magic number at the start of every legacy file.
    const NUMBER: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    /// The position of the magic of a tar archive.
    const USTAR: std::ops::Range<usize> = 257..262;
    let start = start(path, USTAR.end)?;
    let claimed = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let length = std::fs::metadata(path).map_or(u64::MAX, |file| file.len());
    Ok(if start.starts_with(NUMBER) {
        Some("in the format of PyTorch before 1.6")
    } else if start.get(USTAR) == Some(b"ustar") {
        Some("a tar archive, as PyTorch wrote before 0.2")
    } else if matches!(start[..], [0x80, 2..=5, ..]) && claimed.is_some_and(|c| c > length) {
        Some("a bare Python pickle")
    } else {
        None
    })
}

/// The first `length` bytes of a file, or all if it is shorter.
fn start(path: &Path, length: usize) -> Result<Vec<u8>, CheckpointError> {
    let io = CheckpointError::read(path);
    let mut start = Vec::with_capacity(length);
    let file = File::open(path).map_err(&io)?;
    let mut file = file.take(length as u64);
    file.read_to_end(&mut start).map_err(&io)?;
    Ok(start)
}

/// Reads a whole file, after checking that its first bytes can be a safetensors file.
fn read_file(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let io = CheckpointError::read(path);
    let invalid = CheckpointError::invalid(path);
    let mut file = File::open(path).map_err(&io)?;
    let length = file.metadata().map_err(&io)?.len();
    let mut prefix = [0; 8];
    if length < 8 {
        return Err(invalid(format!("it has {length} bytes")));
    }
    file.read_exact(&mut prefix).map_err(&io)?;
    let header = u64::from_le_bytes(prefix);
    if header > length - 8 {
        let reason = format!("its header claims {header} bytes, the file has {length}");
        return Err(invalid(reason));
    }
    let mut bytes = prefix.to_vec();
    file.read_to_end(&mut bytes).map_err(&io)?;
    Ok(bytes)
}
