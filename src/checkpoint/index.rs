//! Checkpoints in several files (shards) with an index, as Hugging Face's libraries write them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::content::{Checkpoint, ReadOptions};
use super::{CheckpointError, file};

/// The usual names of an index, safetensors first.
const NAMES: [&str; 4] = [
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "pytorch_model.index.json",
];
/// The longest index, in bytes.
const LONGEST: u64 = 1 << 26;
/// Files of weights in a folder that an error lists.
const MOST_LISTED: usize = 8;

#[derive(serde::Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The index in a folder.
///
/// # Errors
/// The folder has none. The error lists its files of weights.
pub(super) fn in_folder(folder: &Path) -> Result<PathBuf, CheckpointError> {
    let usual = NAMES.iter().map(|name| folder.join(name));
    let mut usual = usual.filter(|path| path.is_file());
    if let Some(path) = usual.next() {
        return Ok(path);
    }
    let entries = std::fs::read_dir(folder).map_err(CheckpointError::read(folder))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let indices: Vec<_> = names
        .iter()
        .filter(|name| name.ends_with(".index.json"))
        .collect();
    if let [only] = indices[..] {
        return Ok(folder.join(only));
    }
    names.retain(|name| {
        let ends = [
            ".safetensors",
            ".pth",
            ".pt",
            ".bin",
            ".th",
            ".ckpt",
            ".index.json",
        ];
        ends.iter().any(|end| name.ends_with(end))
    });
    names.truncate(MOST_LISTED);
    let remedy = if names.is_empty() {
        "it has no file of weights".to_owned()
    } else {
        format!("name one of its files: {}", names.join(", "))
    };
    Err(CheckpointError::NotWeights {
        path: folder.to_path_buf(),
        what: "a folder without an index of shards".to_owned(),
        remedy,
    })
}

/// Reads the tensors that an index lists from the files in its folder.
///
/// # Errors
/// The index is not valid or names a file outside its folder, or a file or a tensor is missing.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Checkpoint, CheckpointError> {
    let invalid = |reason: String| CheckpointError::Index {
        path: path.to_path_buf(),
        reason,
    };
    let io = CheckpointError::read(path);
    if std::fs::metadata(path).map_err(&io)?.len() > LONGEST {
        return Err(invalid(format!("it has more than {LONGEST} bytes")));
    }
    let text = std::fs::read(path).map_err(&io)?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| invalid(e.to_string()))?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in &index.weight_map {
        let mut parts = Path::new(shard).components();
        if shard.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(invalid(format!(
                "it names {shard:?}, which is outside its folder"
            )));
        }
        shards.entry(shard).or_default().push(tensor);
    }
    if shards.is_empty() {
        return Err(invalid("it lists no tensors".to_owned()));
    }
    let mut whole = Checkpoint::default();
    let count = shards.len();
    for (shard, tensors) in shards {
        let shard_path = path.with_file_name(shard);
        if !shard_path.is_file() {
            return Err(invalid(format!(
                "its shard {shard:?} is missing: download all of its {count} files"
            )));
        }
        let mut content = file::read(&shard_path, options)?;
        for tensor in tensors {
            let (name, value) = content.tensors.remove_entry(tensor).ok_or_else(|| {
                invalid(format!(
                    "tensor {tensor:?} is missing in its shard {shard:?}"
                ))
            })?;
            whole.tensors.insert(name, value);
        }
        for (key, value) in content.metadata {
            whole.metadata.entry(key).or_insert(value);
        }
        let notes = content.notes.iter().map(|note| format!("{shard}: {note}"));
        whole.notes.extend(notes);
    }
    Ok(whole)
}
