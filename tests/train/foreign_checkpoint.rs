//! Checkpoints of other programs: PyTorch's files of all ages, pickled modules and arrays, and what
//! is no checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint::{self, Checkpoint, CheckpointError, ReadOptions};
use serde::Deserialize;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference/foreign_checkpoint")
        .join(name)
}

fn read_table(path: &Path, key: &str) -> Result<Checkpoint, CheckpointError> {
    let state_dict_key = Some(key.to_owned());
    checkpoint::read_with(path, &ReadOptions { state_dict_key })
}

fn message<T>(result: Result<T, CheckpointError>) -> String {
    let Err(error) = result else {
        panic!("it is no good");
    };
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// What PyTorch or NumPy reads from a file.
#[derive(Deserialize)]
struct Expected {
    path: String,
    tensors: BTreeMap<String, ExpectedTensor>,
}

#[derive(Deserialize)]
struct ExpectedTensor {
    dtype: String,
    shape: Vec<usize>,
    /// Numbers with spaces between them: serde_json can miss the nearest f64.
    values: String,
}

fn expected() -> BTreeMap<String, Expected> {
    let text = std::fs::read(file("").with_extension("json")).expect("the reference");
    serde_json::from_slice(&text).expect("JSON")
}

fn dtype(name: &str) -> DType {
    match name {
        "uint8" => DType::U8,
        "uint32" => DType::U32,
        "int16" => DType::I16,
        "int32" => DType::I32,
        "int64" => DType::I64,
        "float16" => DType::F16,
        "bfloat16" => DType::BF16,
        "float32" => DType::F32,
        "float64" => DType::F64,
        other => panic!("{other}"),
    }
}

fn assert_equal(name: &str, read: &Checkpoint, expected: &Expected) -> candle_core::Result<()> {
    let keys: Vec<_> = expected.tensors.keys().collect();
    let mut found: Vec<_> = read.tensors.keys().collect();
    found.sort();
    assert_eq!(found, keys, "{name}");
    for (key, expected) in &expected.tensors {
        let tensor = &read.tensors[key];
        assert_eq!(tensor.dims(), expected.shape, "{name} {key}");
        assert_eq!(tensor.dtype(), dtype(&expected.dtype), "{name} {key}");
        let values = tensor.flatten_all()?.to_dtype(DType::F64)?;
        let numbers = expected.values.split_whitespace();
        let numbers: Vec<f64> = numbers.map(|n| n.parse().expect("a number")).collect();
        assert_eq!(values.to_vec1::<f64>()?, numbers, "{name} {key}");
    }
    Ok(())
}

#[test]
fn tensors_are_those_that_other_programs_read() -> candle_core::Result<()> {
    let all = expected();
    assert_eq!(all.len(), 25);
    for (name, expected) in &all {
        let path = file(name);
        let read = checkpoint::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_equal(name, &read, expected)?;
        if !expected.path.is_empty() {
            let read = read_table(&path, &expected.path).unwrap_or_else(|error| panic!("{error}"));
            assert_equal(name, &read, expected)?;
        }
    }
    Ok(())
}

#[test]
fn a_choice_and_what_is_passed_over_are_reported() -> candle_core::Result<()> {
    for name in ["state-zip.pth", "state-legacy.pth"] {
        let read = checkpoint::read(&file(name)).expect("weights");
        let [choice, passed_over] = &read.notes[..] else {
            panic!("{:?}", read.notes);
        };
        for part in [
            "the weights are the table 'state.ema.module' (16 tensors)",
            "state_dict_key can name another: 'metrics' (1 tensor), 'state.model.module' (16 tensors)",
        ] {
            assert!(choice.contains(part), "{choice}");
        }
        for part in [
            "'epoch' (3)",
            "'best_acc1' (a tensor)",
            "'big' (an integer)",
            "'confusion' (a NumPy value)",
            "'args' (an object of types.SimpleNamespace)",
            " and 3 more",
        ] {
            assert!(passed_over.contains(part), "{passed_over}");
        }
        // Another table, its folder, and one of a single value. The averaged weights are halves.
        let scale = read.tensors["head.weight"]
            .abs()?
            .sum_all()?
            .to_scalar::<f32>()?;
        for key in ["state.model.module", "state.model"] {
            let other = read_table(&file(name), key).expect("weights");
            let sum = other.tensors["head.weight"].abs()?.sum_all()?;
            assert_eq!(sum.to_scalar::<f32>()?, 2.0 * scale, "{key}");
        }
        let metrics = read_table(&file(name), "metrics")
            .expect("a tensor")
            .tensors;
        assert_eq!(metrics["loss"].to_scalar::<f32>()?, 0.5);
        // Below `state`, the same rule decides.
        let below = read_table(&file(name), "state").expect("weights");
        let sum = below.tensors["head.weight"].abs()?.sum_all()?;
        assert_eq!(sum.to_scalar::<f32>()?, scale);
        let message = message(read_table(&file(name), "stat"));
        for part in [
            "'stat'",
            "state_dict_key",
            "'state.ema.module' (16 tensors)",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
    // A file with one table and no other values has nothing to report.
    assert!(
        checkpoint::read(&file("zip-4.pth"))
            .unwrap()
            .notes
            .is_empty()
    );
    assert!(checkpoint::read(&file("tar.pth")).unwrap().notes[0].contains("'epoch'"));
    Ok(())
}

#[test]
fn tensors_without_a_counterpart_are_named() {
    let read = checkpoint::read(&file("odd.pth")).expect("a weight");
    let note = read.notes.concat();
    for part in [
        "'sparse' (a tensor of torch's _rebuild_sparse_tensor)",
        "'complex' (a tensor of ComplexFloatStorage, which Candle does not have)",
        "'float8_e5m2' (a tensor of float8_e5m2, which Candle does not have)",
        "'negated' (a conjugated or negated view)",
        "'counter' (5)",
        "'name' (text)",
        "'array' (a NumPy value)",
    ] {
        assert!(note.contains(part), "{note}");
    }
    let message = message(checkpoint::read(&file("quantised.pth")));
    for part in ["\"weight\"", "a quantised tensor", "dequantise"] {
        assert!(message.contains(part), "{message}");
    }
}

/// With any change, a file is read or refused in one line.
#[test]
fn damage_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    for name in [
        "legacy-2.pth",
        "legacy-view.pth",
        "module-legacy.pth",
        "tar.pth",
        "arrays-0.pkl",
        "arrays-5.pkl",
        "tensors-2.pkl",
    ] {
        let whole = std::fs::read(file(name)).unwrap();
        let mut refused = 0;
        let mut read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            if let Err(error) = checkpoint::read(&path) {
                refused += 1;
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        };
        // The rest of the longer files is the same again, or padding.
        for at in 0..whole.len().min(2500) {
            let mut bytes = whole.clone();
            bytes[at] ^= [0x01, 0x55, 0xff][at % 3];
            read(&bytes);
        }
        assert!(refused > 50, "{name}: {refused}");
    }
}

#[test]
fn half_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    for (name, tenths) in [
        ("zip-4.pth", 1..10),
        ("legacy-2.pth", 1..10),
        // More than half of the archive is padding.
        ("tar.pth", 1..4),
        ("arrays-4.pkl", 1..10),
    ] {
        let whole = std::fs::read(file(name)).unwrap();
        for tenth in tenths {
            std::fs::write(&path, &whole[..whole.len() * tenth / 10]).unwrap();
            let message = message(checkpoint::read(&path));
            assert!(message.contains("incomplete"), "{name} {tenth}: {message}");
            assert!(message.contains("download or copy it again"), "{message}");
        }
    }
    let path = folder.path().join("weights.safetensors");
    let tensor = Tensor::zeros(100, DType::F32, &Device::Cpu).unwrap();
    checkpoint::write(&path, &[("w".to_owned(), tensor)], &BTreeMap::new()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [whole.len() - 1, whole.len() - 400] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let message = message(checkpoint::read(&path));
        assert!(message.contains("incomplete"), "{message}");
    }
}

#[test]
fn what_is_no_checkpoint_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    let onnx = b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x0c";
    let flax = b"\x81\xa6params\x81\xa5conv1\x81\xa6kernel\xc7";
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 46830571\n";
    for (bytes, what, remedy) in [
        (&b""[..], "an empty file", "download"),
        (pointer, "a Git LFS pointer", "git lfs pull"),
        (
            b"<!DOCTYPE html>\n<html>",
            "an HTML page",
            "download the file itself",
        ),
        (b"\n <HTML lang=\"en\">", "an HTML page", "needs a login"),
        (
            b"<?xml version=\"1.0\"?><Error>",
            "an HTML page",
            "download",
        ),
        (b"Entry not found", "an error message", "check the address"),
        (
            b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0",
            "an HDF5 file",
            "convert",
        ),
        (flax, "a msgpack file of Flax", "convert"),
        (onnx, "an ONNX model", "exported from"),
        (
            b"\x08\x01\x12\x9a\xf2\x01\x0a",
            "a saved model of TensorFlow",
            "convert",
        ),
        (
            b"\x1c\0\0\0TFL3\x14\0 \0\x1c\0",
            "a TensorFlow Lite model",
            "name",
        ),
        (
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
            "compressed with gzip",
            "decompress",
        ),
        (b"BZh91AY&SY\x00\x00", "compressed with bzip2", "decompress"),
        (b"\xfd7zXZ\0\0\x04\xe6", "compressed with xz", "decompress"),
        (
            b"\x28\xb5\x2f\xfd\x04\x00\x41\0",
            "compressed with zstd",
            "decompress",
        ),
        (b"GGUF\x03\0\0\0\x23\x01\0\0", "a GGUF file", "name"),
        (
            b"\x93NUMPY\x01\0v\0{'descr'",
            "one NumPy array",
            "safetensors",
        ),
        (&[0; 4096], "full of zeros", "download"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let message = message(checkpoint::read(&path));
        assert!(message.contains(what), "{what}: {message}");
        assert!(message.contains(remedy), "{message}");
        assert!(message.contains("weights.pth"), "{message}");
    }
    let archive = |name: &str| {
        let file = std::fs::File::create(&path).unwrap();
        let mut archive = zip::ZipWriter::new(file);
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, stored).unwrap();
        archive.finish().unwrap();
        message(checkpoint::read(&path))
    };
    assert!(archive("weights.npy").contains("NumPy .npz archive"));
    assert!(archive("model.weights.h5").contains("a Keras model"));
    assert!(archive("runs/best.pth").contains("extract that file"));
    let message = message(checkpoint::read(folder.path()));
    assert!(
        message.contains("name one of its files: weights.pth"),
        "{message}"
    );
}

/// Views that share one small storage cannot fill the memory, and nothing recurses.
#[test]
fn hostile_pickles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    let read = |pickle: &[u8]| {
        std::fs::write(&path, pickle).unwrap();
        message(checkpoint::read(&path))
    };
    // An array of no elements with dimensions whose product overflows.
    let mut array = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7ft".to_vec();
    array.extend(b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x00tbs.");
    assert!(read(&array).contains("claims"));
    // Dictionaries within dictionaries, a dictionary within itself, and a module within itself.
    let deep = [
        b"\x80\x02".as_slice(),
        &b"}U\x01a".repeat(1000),
        b"N",
        &b"s".repeat(1000),
        b".",
    ];
    assert!(read(&deep.concat()).contains("nests too deeply"));
    assert!(read(b"\x80\x02}q\x00U\x01ah\x00s.").contains("no tensors by name"));
    let own = b"\x80\x02cm\nM\n)\x81q\x00}(U\x0b_parameters}U\x08_modules}U\x01ah\x00sub.";
    assert!(read(own).contains("nest too deeply"));
    // Modules that double at every level.
    let mut doubled = b"\x80\x02cm\nM\n)\x81}(U\x0b_parameters}U\x08_modules}ubq\x00".to_vec();
    for _ in 0..60 {
        doubled.extend(
            b"cm\nM\n)\x81}(U\x0b_parameters}U\x08_modules}(U\x01ah\x00U\x01bh\x00uubq\x00",
        );
    }
    doubled.push(b'.');
    assert!(read(&doubled).contains("too many modules"));
}
