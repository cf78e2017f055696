//! Checkpoint files, whole and damaged.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::checkpoint;

fn tensors() -> Result<Vec<(String, Tensor)>> {
    let weight = Tensor::new(&[[1f32, -2.5], [f32::MIN_POSITIVE, 4.0]], &Device::Cpu)?;
    let count = Tensor::new(&[7i64], &Device::Cpu)?.reshape(())?;
    Ok(vec![
        ("conv1.weight".to_string(), weight.t()?),
        (
            "bn1.bias".to_string(),
            weight.to_dtype(DType::BF16)?.narrow(0, 1, 1)?,
        ),
        ("bn1.num_batches_tracked".to_string(), count),
        (
            "empty".to_string(),
            Tensor::zeros((0, 3), DType::F64, &Device::Cpu)?,
        ),
    ])
}

fn metadata() -> BTreeMap<String, String> {
    let entry = |key: &str, value: &str| (key.to_string(), value.to_string());
    [
        entry("model", "resnet20"),
        entry("classes", "[\"a \\\"b\\\"\"]"),
    ]
    .into()
}

#[test]
fn written_checkpoints_are_read_back() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    checkpoint::write(&path, &tensors()?, &metadata())?;
    let read = checkpoint::read(&path)?;
    assert_eq!(read.metadata, metadata());
    assert_eq!(read.tensors.len(), 4);
    for (name, tensor) in tensors()? {
        let read = &read.tensors[&name];
        assert_eq!(
            (read.shape(), read.dtype()),
            (tensor.shape(), tensor.dtype())
        );
        let values = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
        assert_eq!(values(read)?, values(&tensor)?);
    }
    // Equal content gives equal bytes, and the folder has no other file.
    let bytes = std::fs::read(&path)?;
    checkpoint::write(&path, &tensors()?, &metadata())?;
    assert_eq!(std::fs::read(&path)?, bytes);
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
    assert_eq!(bytes.len() % 2, 0);
    Ok(())
}

fn message(path: &Path) -> String {
    let message = checkpoint::read(path).expect_err("damaged").to_string();
    assert!(message.contains("weights.safetensors"), "{message}");
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn damaged_files_are_refused() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    message(&path);
    message(folder.path().join("weights.safetensors").as_path());
    checkpoint::write(&path, &tensors()?, &metadata())?;
    let whole = std::fs::read(&path)?;
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length])?;
        message(&path);
    }
    for claim in [u64::MAX, i64::MAX as u64, 1 << 40, whole.len() as u64 - 7] {
        let mut lying = whole.clone();
        lying[..8].copy_from_slice(&claim.to_le_bytes());
        std::fs::write(&path, &lying)?;
        assert!(message(&path).contains("header claims"));
    }
    let header = |text: &str| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.extend([0; 16]);
        bytes
    };
    for text in [
        r#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,15]}}"#,
        r#"{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,16]}}"#,
        r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}"#,
        // No elements, but strides that overflow.
        r#"{"w":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}"#,
        r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}"#,
        r#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}"#,
        r#"{"w":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}"#,
        r#"[1, 2, 3]"#,
        "not JSON",
    ] {
        std::fs::write(&path, header(text))?;
        message(&path);
    }
    std::fs::write(&path, b"PK\x03\x04 a PyTorch zip archive, in truth")?;
    message(&path);
    Ok(())
}

#[test]
fn a_failed_write_leaves_the_old_file() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder
        .path()
        .join("missing folder")
        .join("weights.safetensors");
    assert!(checkpoint::write(&path, &tensors()?, &metadata()).is_err());
    // A folder cannot be replaced by a file. The temporary file is removed.
    let path = folder.path().join("weights.safetensors");
    std::fs::create_dir(&path)?;
    std::fs::write(path.join("kept"), "kept")?;
    assert!(checkpoint::write(&path, &tensors()?, &metadata()).is_err());
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
    Ok(())
}
