//! The mean of several checkpoints.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use super::content::Checkpoint;
use super::error::CheckpointError;
use super::read::read;

/// The mean of the tensors of several checkpoints of one network: timm's `avg_checkpoints.py`. Sums are
/// in f64, the result has the types of the first file. Integers come from the first file. The header
/// has the entries that are the same in all files.
///
/// # Errors
/// If `paths` is empty, a file cannot be read, or its tensors have other names or shapes than the first
/// file's.
pub fn average(paths: &[PathBuf]) -> Result<Checkpoint, CheckpointError> {
    let Some((first, rest)) = paths.split_first() else {
        return Ok(Checkpoint::default());
    };
    let mut mean = read(first)?;
    let types: Vec<(String, DType)> = mean
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.dtype()))
        .filter(|(_, dtype)| dtype.is_float())
        .collect();
    for (name, _) in &types {
        map(&mut mean, name, first, |sum| sum.to_dtype(DType::F64))?;
    }
    for path in rest {
        let next = read(path)?;
        check_same(&mean, first, &next, path)?;
        for (name, _) in &types {
            if let Some(tensor) = next.tensors.get(name) {
                map(&mut mean, name, path, |sum| {
                    sum + tensor.to_dtype(DType::F64)?
                })?;
            }
        }
        mean.metadata
            .retain(|key, value| next.metadata.get(key) == Some(value));
    }
    let count = paths.len() as f64;
    for (name, dtype) in types {
        map(&mut mean, &name, first, |sum| {
            (sum / count)?.to_dtype(dtype)
        })?;
    }
    Ok(mean)
}

/// Replaces a tensor.
fn map(
    checkpoint: &mut Checkpoint,
    name: &str,
    path: &Path,
    op: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
) -> Result<(), CheckpointError> {
    let Some(tensor) = checkpoint.tensors.get_mut(name) else {
        return Ok(());
    };
    *tensor = op(tensor).map_err(|source| CheckpointError::Tensor {
        path: path.to_path_buf(),
        tensor: name.to_string(),
        source: Box::new(source),
    })?;
    Ok(())
}

/// Refuses tensors of another network.
fn check_same(
    mean: &Checkpoint,
    first: &Path,
    next: &Checkpoint,
    path: &Path,
) -> Result<(), CheckpointError> {
    let invalid = CheckpointError::invalid(path);
    let mut names: Vec<&String> = mean.tensors.keys().chain(next.tensors.keys()).collect();
    names.sort();
    for name in names {
        let first = first.display();
        match (mean.tensors.get(name), next.tensors.get(name)) {
            (Some(_), None) => return Err(invalid(format!("it lacks {name}, which {first} has"))),
            (None, Some(_)) => return Err(invalid(format!("it has {name}, which {first} lacks"))),
            (Some(a), Some(b)) if a.dims() != b.dims() => {
                return Err(invalid(format!(
                    "{name} is {:?}, in {first} it is {:?}",
                    b.dims(),
                    a.dims()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}
