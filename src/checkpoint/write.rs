//! Writing safetensors files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use candle_core::Tensor;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, View};

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
    let content = Content::new(tensors, metadata, None);
    let written = write_atomically(path, |file| content.write_to(file));
    written.map_err(CheckpointError::write(path))
}

/// Bytes after all tensors, which a tensor of type u8 covers.
pub(super) struct Trailer {
    pub name: &'static str,
    pub bytes: usize,
}

/// A file's header and tensors, in the order of the file.
pub(super) struct Content<'a> {
    header: Vec<u8>,
    tensors: Vec<&'a (String, Tensor)>,
}

impl<'a> Content<'a> {
    /// The caller writes the bytes of `trailer` after [`Content::write_to`].
    pub(super) fn new(
        tensors: &'a [(String, Tensor)],
        metadata: &BTreeMap<String, String>,
        trailer: Option<Trailer>,
    ) -> Self {
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
        if let Some(Trailer { name, bytes }) = trailer {
            let info = TensorInfo {
                dtype: Dtype::U8,
                shape: vec![bytes],
                data_offsets: (end, end + bytes),
            };
            header.insert(name.to_string(), serde_json::json!(info));
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        // The format requires that the data starts at a multiple of eight bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        Self { header, tensors }
    }

    /// Writes the header and the values of the tensors.
    pub(super) fn write_to(&self, file: &mut dyn Write) -> std::io::Result<()> {
        file.write_all(&(self.header.len() as u64).to_le_bytes())?;
        file.write_all(&self.header)?;
        for (_, tensor) in &self.tensors {
            file.write_all(&View::data(&tensor))?;
        }
        Ok(())
    }
}
