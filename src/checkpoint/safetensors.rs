//! Reading safetensors files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensorError, SafeTensors};

use super::content::Checkpoint;
use super::element::{Element, is_addressable};
use super::error::CheckpointError;

/// Reads a file. Returns its tensors and the metadata of its header.
pub(super) fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    parse(path, &read_file(path)?)
}

/// Reads the bytes of a file. `path` names them in errors.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let invalid = CheckpointError::invalid(path);
    let reason = |error| match error {
        SafeTensorError::MetadataIncompleteBuffer => {
            "its length is not the one that its header describes: it is incomplete or damaged, \
             download or copy it again"
                .to_owned()
        }
        error => error.to_string(),
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| invalid(reason(e)))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| invalid(e.to_string()))?;
    let load = |(name, view): (String, TensorView<'_>)| {
        if !is_addressable(view.shape()) {
            return Err(invalid(format!(
                "tensor '{}' claims {:?} elements",
                name.escape_debug(),
                view.shape()
            )));
        }
        let tensor = tensor(&view).map_err(|source| CheckpointError::Tensor {
            path: path.to_path_buf(),
            tensor: name.escape_debug().to_string(),
            source: Box::new(source),
        })?;
        Ok((name, tensor))
    };
    let tensors = file.tensors().into_iter().map(load);
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Checkpoint {
        tensors: tensors.collect::<Result<_, _>>()?,
        metadata: metadata.into_iter().collect(),
        notes: Vec::new(),
    })
}

fn tensor(view: &TensorView<'_>) -> candle_core::Result<Tensor> {
    match Element::of_safetensors(view.dtype()) {
        Some(element) => {
            let tensor = element.tensor(view.data(), view.shape());
            tensor.map_err(candle_core::Error::Msg)
        }
        // Types that only Candle knows, and the error that names one it does not.
        None => view.load(&Device::Cpu),
    }
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
        return Err(invalid(format!(
            "its header claims {header} bytes, the file has {length}: it is incomplete or damaged, \
             download or copy it again"
        )));
    }
    let mut bytes = prefix.to_vec();
    file.read_to_end(&mut bytes).map_err(&io)?;
    Ok(bytes)
}
