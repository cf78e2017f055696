//! PyTorch files: intact, damaged and hostile.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use candle_mish::checkpoint;
use serde::Deserialize;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

fn message(path: &Path) -> String {
    checkpoint::read(path)
        .expect_err("it is no good")
        .to_string()
}

/// An archive with only a pickle.
fn archive(path: &Path, pickle: &[u8]) {
    let mut archive = ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("archive/data.pkl", stored).unwrap();
    archive.write_all(pickle).unwrap();
    archive.finish().unwrap();
}

#[test]
fn tensors_are_those_that_pytorch_wrote() -> candle_core::Result<()> {
    let expected = std::fs::read(reference("pytorch_file.json")).unwrap();
    let expected: HashMap<String, Expected> = serde_json::from_slice(&expected).unwrap();
    let read = checkpoint::read(&reference("pytorch_file.pth")).unwrap();
    let values = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    for (name, expected) in &expected {
        let tensor = &read.tensors[name];
        assert_eq!(tensor.dims(), expected.shape, "{name}");
        assert_eq!(values(tensor)?, expected.values, "{name}");
    }
    assert_eq!(read.tensors.len(), expected.len());
    assert_eq!(read.tensors["module.bfloat16"].dtype(), DType::BF16);
    assert_eq!(read.tensors["module.counter"].dtype(), DType::I64);
    Ok(())
}

/// With any change, a file is read or refused in one line.
#[test]
fn damage_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    let whole = std::fs::read(reference("pytorch_file.pth")).unwrap();
    let mut refused = 0;
    let mut read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = checkpoint::read(&path) {
            refused += 1;
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= [0x01, 0x55, 0xff][at % 3];
        read(&bytes);
        if at % 5 == 0 {
            read(&whole[..at]);
        }
    }
    assert!(refused > whole.len() / 5, "{refused}");
}

#[test]
fn files_without_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    let refuses = |pickle: &[u8], says: &str| {
        archive(&path, pickle);
        let message = message(&path);
        assert!(message.contains(says), "{message}");
        assert!(!message.contains('\n'), "{message}");
    };
    // A call of os.system is data, not weights.
    let call = b"\x80\x02cos\nsystem\nX\x0d\x00\x00\x00touch /tmp/no\x85R.";
    refuses(call, "a whole object");
    refuses(b"\x80\x02}.", "no tensors by name");
    refuses(b"\x80\x02}", "breaks off");
    refuses(b"\x80\x02X\xff\xff\xff\xffab.", "breaks off");
    refuses(b"\x80\x02\x8a\xff.", "breaks off");
    refuses(b"\x80\x02\xf0.", "unknown op-code");
    // A million nested tuples.
    let nested = [b"\x80\x02)".as_slice(), &vec![0x85; 1_000_000], b"."].concat();
    refuses(&nested, "nests too deeply");
    // A pair of the previous value, forty times: a trillion values if they were copied.
    let mut doubled = b"\x80\x02)q\x00".to_vec();
    for _ in 0..40 {
        doubled.extend(b"h\x00h\x00\x86q\x00");
    }
    doubled.push(b'.');
    refuses(&doubled, "no tensors by name");
    let mut empty = ZipWriter::new(std::fs::File::create(&path).unwrap());
    empty
        .start_file("readme.txt", SimpleFileOptions::default())
        .unwrap();
    empty.finish().unwrap();
    let message = message(&path);
    assert!(message.contains("it has no data.pkl"), "{message}");
}

#[test]
fn formats_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    // The first bytes of `torch.save(…, _use_new_zipfile_serialization=False)`.
    let before = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00(X";
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let pickle = b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.";
    for (bytes, what) in [
        (&before[..], "incomplete"),
        (&tar, "archive"),
        (pickle, "no tensors by name"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let message = message(&path);
        assert!(message.contains(what), "{message}");
    }
    // A safetensors file with a header of 640 bytes starts like a pickle.
    let mut header = br#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#.to_vec();
    header.resize(0x280, b' ');
    std::fs::write(&path, [&0x280u64.to_le_bytes()[..], &header].concat()).unwrap();
    assert_eq!(checkpoint::read(&path).unwrap().tensors.len(), 1);
}
