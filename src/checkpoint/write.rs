//! Writing safetensors files.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use safetensors::View;
use safetensors::tensor::TensorInfo;

use super::{CheckpointError, write_atomically};

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
