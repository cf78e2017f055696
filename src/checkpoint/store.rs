//! Saving and loading the parameters of a network.

use std::collections::BTreeMap;
use std::path::Path;

use super::{CheckpointError, read, write};
use crate::nn::{LoadReport, ParamStore};

impl ParamStore {
    /// Writes every parameter and buffer to the safetensors file `path`. The file has either its
    /// old content or the new one, never a part.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        write(path.as_ref(), &self.tensors(), &BTreeMap::new())
    }

    /// Reads the file `path` (safetensors, or PyTorch's `.pth` or `.bin`) into the store's tensors
    /// of the same name and shape, and reports the differences; see
    /// [`load_tensors`](Self::load_tensors). Build the network first: the store holds the tensors
    /// that the network has requested.
    ///
    /// # Errors
    /// If the file cannot be read, or a value cannot be copied to the device.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<LoadReport, CheckpointError> {
        let path = path.as_ref();
        let report = self.load_tensors(&read(path)?.tensors);
        report.map_err(|source| CheckpointError::Load {
            path: path.to_path_buf(),
            source: Box::new(source),
        })
    }
}
