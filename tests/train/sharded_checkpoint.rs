//! Checkpoints in several files with an index.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::checkpoint;

fn shard(path: &Path, tensors: &[(&str, f32)]) {
    let tensor = |(name, value): &(&str, f32)| {
        let tensor = Tensor::full(*value, (2, 3), &Device::Cpu).expect("a tensor");
        ((*name).to_owned(), tensor)
    };
    let tensors: Vec<_> = tensors.iter().map(tensor).collect();
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    checkpoint::write(path, &tensors, &metadata).expect("written");
}

fn index(path: &Path, map: &str) {
    let text = format!(r#"{{"metadata": {{"total_size": 48}}, "weight_map": {map}}}"#);
    std::fs::write(path, text).expect("written");
}

fn message(path: &Path) -> String {
    let message = checkpoint::read(path).expect_err("refused").to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn shards_are_read_by_index_or_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    shard(
        &at("model-00001-of-00002.safetensors"),
        &[("a", 1.0), ("b", 2.0)],
    );
    shard(
        &at("model-00002-of-00002.safetensors"),
        &[("c", 3.0), ("unlisted", 4.0)],
    );
    let map = r#"{"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors"}"#;
    index(&at("model.safetensors.index.json"), map);
    for path in [at("model.safetensors.index.json"), folder.path().to_owned()] {
        let read = checkpoint::read(&path).expect("weights");
        assert_eq!(read.metadata["format"], "pt");
        assert_eq!(read.tensors.len(), 3);
        for (name, value) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
            let first = read.tensors[name].flatten_all()?.to_vec1::<f32>()?;
            assert_eq!(first, [value; 6], "{name}");
        }
    }
    // An index with another name is found if it is the only one.
    std::fs::rename(at("model.safetensors.index.json"), at("x.index.json"))?;
    assert_eq!(
        checkpoint::read(folder.path())
            .expect("weights")
            .tensors
            .len(),
        3
    );
    Ok(())
}

#[test]
fn shards_can_be_pytorch_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let reference =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/foreign_checkpoint");
    for (name, from) in [
        ("pytorch_model-1.bin", "zip-2.pth"),
        ("pytorch_model-2.bin", "legacy-2.pth"),
    ] {
        std::fs::copy(reference.join(from), folder.path().join(name))?;
    }
    let map = r#"{"half": "pytorch_model-1.bin", "double": "pytorch_model-2.bin"}"#;
    index(&folder.path().join("pytorch_model.bin.index.json"), map);
    let tensors = checkpoint::read(folder.path()).expect("weights").tensors;
    assert_eq!(tensors.len(), 2);
    assert_eq!(tensors["half"].dtype(), DType::F16);
    assert_eq!(tensors["double"].dtype(), DType::F64);
    Ok(())
}

#[test]
fn damaged_indices_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors.index.json");
    shard(&folder.path().join("1.safetensors"), &[("a", 1.0)]);
    let outside = tempfile::tempdir()?;
    let elsewhere = outside.path().join("2.safetensors");
    shard(&elsewhere, &[("a", 1.0)]);
    let absolute = serde_json::to_string(&elsewhere).expect("a path");
    for (map, says) in [
        (
            r#"{"a": "3.safetensors"}"#.to_owned(),
            "shard \"3.safetensors\" is missing",
        ),
        (
            r#"{"b": "1.safetensors"}"#.to_owned(),
            "tensor \"b\" is missing in its shard",
        ),
        (
            r#"{"a": "../x/2.safetensors"}"#.to_owned(),
            "outside its folder",
        ),
        (r#"{"a": ".."}"#.to_owned(), "outside its folder"),
        (r#"{"a": ""}"#.to_owned(), "outside its folder"),
        (format!(r#"{{"a": {absolute}}}"#), "outside its folder"),
        (
            r#"{"a": "model.safetensors.index.json"}"#.to_owned(),
            "a JSON file",
        ),
        ("{}".to_owned(), "lists no tensors"),
        (r#"["a"]"#.to_owned(), "not a valid index"),
    ] {
        index(&path, &map);
        let message = message(&path);
        assert!(message.contains(says), "{map}: {message}");
    }
    std::fs::write(&path, "{\"architectures\": [\"ResNet\"]}")?;
    assert!(message(&path).contains("weight_map"));
    // A folder without an index lists the files that it has.
    std::fs::remove_file(&path)?;
    assert!(message(folder.path()).contains("1.safetensors"));
    Ok(())
}
