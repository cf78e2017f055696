//! Reading one file with tensors.

use std::path::Path;

use super::content::{Checkpoint, ReadOptions};
use super::format::{self, Format};
use super::{CheckpointError, pytorch, safetensors};

/// Reads a safetensors or PyTorch file.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Checkpoint, CheckpointError> {
    let key = options.state_dict_key.as_deref();
    let no_table = |tables: String| CheckpointError::StateDictKey {
        path: path.to_path_buf(),
        key: key.unwrap_or_default().to_owned(),
        tables,
    };
    match format::detect(path)? {
        Format::Pytorch(format) => {
            pytorch::read(path, format, key).map_err(|problem| match problem {
                pytorch::Problem::NoTable(tables) => no_table(tables),
                pytorch::Problem::Reason(reason) => CheckpointError::Pickle {
                    path: path.to_path_buf(),
                    reason,
                },
            })
        }
        Format::Index => Err(CheckpointError::NotWeights {
            path: path.to_path_buf(),
            what: "a JSON file".to_owned(),
            remedy: "name a file with tensors".to_owned(),
        }),
        Format::Safetensors => {
            let checkpoint = safetensors::read(path)?;
            match key {
                Some(_) => Err(no_table("the tensors of a safetensors file".to_owned())),
                None => Ok(checkpoint),
            }
        }
    }
}
