//! CIFAR's Python version: pickles.

use std::io::{Read, Write};
use std::path::Path;

use candle_mish::data::{DataError, Dataset, DatasetKind, ImageSet, open};
use serde::Deserialize;
use tempfile::TempDir;

use crate::fixture::{byte, options};

/// Files that Python wrote: tests/reference/cifar_pickle.py.
#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    dataset: String,
    /// The number of the first image.
    first: usize,
    file: String,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let digits = self.file.as_bytes().chunks_exact(2);
        let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
        let packed: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect();
        let mut bytes = Vec::new();
        let mut reader = flate2::read::ZlibDecoder::new(&packed[..]);
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

fn cases() -> Vec<Case> {
    let reference = include_str!("../reference/cifar_pickle.json");
    let reference: Reference = serde_json::from_str(reference).unwrap();
    assert_eq!(reference.cases.len(), 30);
    reference.cases
}

/// The pickle that Python 2 writes for CIFAR-100, as published.
fn published() -> Vec<u8> {
    let mut cases = cases().into_iter();
    let case = cases.find(|case| case.name == "Python 2, protocol 2");
    case.unwrap().bytes()
}

fn read(dataset: DatasetKind, folder: &Path) -> Result<Dataset, DataError> {
    let cache = TempDir::new().unwrap();
    open(&options(dataset, folder, cache.path()))
}

/// Image `i` of the reference: blocks of 8 x 4 pixels.
fn planar(i: usize) -> Vec<u8> {
    let pixel = |at: usize| byte(i, at / 1024, at / 32 % 32 / 8, at % 32 / 4);
    (0..3072).map(pixel).collect()
}

fn assert_holds(set: &ImageSet, numbers: impl Iterator<Item = usize>, classes: usize) {
    let mut count = 0;
    for (at, number) in numbers.enumerate() {
        assert_eq!(set.image(at).unwrap(), planar(number), "image {number}");
        assert_eq!(set.labels()[at] as usize, number % classes);
        if let Some(coarse) = set.coarse_labels() {
            assert_eq!(coarse[at] as usize, number % 20);
        }
        count += 1;
    }
    assert_eq!(set.len(), count);
    assert_eq!(set.coarse_labels().is_some(), classes == 100);
}

#[test]
fn pickles_of_python_2_and_3_are_read() {
    for case in cases() {
        let folder = TempDir::new().unwrap();
        let bytes = case.bytes();
        let (kind, classes) = match case.dataset.as_str() {
            "cifar100" => (DatasetKind::Cifar100, 100),
            _ => (DatasetKind::Cifar10, 10),
        };
        let (train, test): (Vec<String>, &str) = match kind {
            DatasetKind::Cifar100 => (vec!["train".to_owned()], "test"),
            _ => (
                (1..=5).map(|k| format!("data_batch_{k}")).collect(),
                "test_batch",
            ),
        };
        for name in train.iter().map(String::as_str).chain([test]) {
            std::fs::write(folder.path().join(name), &bytes).unwrap();
        }
        let data = read(kind, folder.path());
        let data = data.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let numbers = [case.first, case.first + 1];
        let all = train.iter().flat_map(|_| numbers);
        assert_holds(&data.train, all, classes);
        assert_holds(&data.test, numbers.into_iter(), classes);
    }
}

fn pack(path: &Path, folder: &str, files: &[(&str, &[u8])]) {
    let file = std::fs::File::create(path).unwrap();
    let packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut archive = tar::Builder::new(packer);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let path = format!("{folder}/{name}");
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
}

/// What torchvision leaves in its folder: the archive and the files in it.
#[test]
fn the_folder_and_the_archive_of_torchvision_are_read() {
    let bytes = published();
    let files = [
        ("meta", &b"\x80\x02}."[..]),
        ("train", &bytes),
        ("test", &bytes),
    ];
    let folder = TempDir::new().unwrap();
    let unpacked = folder.path().join("cifar-100-python");
    std::fs::create_dir(&unpacked).unwrap();
    for (name, bytes) in files {
        std::fs::write(unpacked.join(name), bytes).unwrap();
    }
    let first = cases().into_iter().find(|case| case.bytes() == bytes);
    let first = first.unwrap().first;
    for path in [folder.path(), &unpacked] {
        let data = read(DatasetKind::Cifar100, path).unwrap();
        assert_holds(&data.train, first..first + 2, 100);
        assert_eq!(data.source.files.len(), 2);
    }
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("cifar-100-python.tar.gz");
    pack(&archive, "cifar-100-python", &files);
    let cache = TempDir::new().unwrap();
    for (path, cached) in [(folder.path(), false), (&archive, true)] {
        let data = open(&options(DatasetKind::Cifar100, path, cache.path())).unwrap();
        assert_holds(&data.train, first..first + 2, 100);
        assert_eq!(data.source.from_cache, cached);
    }
    pack(&archive, "cifar-100-python", &files[..2]);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("it has no test"), "{message}");
    pack(&archive, "photos", &files[..1]);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(
        message.contains("none of the files of CIFAR-100"),
        "{message}"
    );
}

fn refusal(dataset: DatasetKind, folder: &Path) -> String {
    let message = read(dataset, folder).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn write_both(folder: &Path, bytes: &[u8]) {
    for name in ["train", "test"] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// A pickle of protocol 0 with two images of the given dtype, values and labels.
fn pickle(shape: &str, dtype: &str, bytes: usize, fine: &str, coarse: &str) -> Vec<u8> {
    let mut file = format!(
        "(dS'data'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n{shape}\
         cnumpy\ndtype\n(S'{dtype}'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
    )
    .into_bytes();
    // The content as BINSTRING.
    file.push(b'T');
    file.extend((bytes as u32).to_le_bytes());
    file.extend(vec![7; bytes]);
    file.extend(format!("tbsS'fine_labels'\n{fine}sS'coarse_labels'\n{coarse}s.").bytes());
    file
}

#[test]
fn bad_pickles_are_refused_with_their_path() {
    let right = ("(I2\nI3072\nt", "(lI1\naI2\na");
    let whole = published();
    let ten = cases().into_iter().find(|case| case.dataset == "cifar10");
    for (bytes, says) in [
        (Vec::new(), "the file is empty"),
        (b"<!DOCTYPE html>".to_vec(), "its pickle"),
        (whole[..whole.len() / 2].to_vec(), "its pickle breaks off"),
        (b"\x80\x02]q\x00.".to_vec(), "not a dictionary"),
        (
            ten.unwrap().bytes(),
            "it has no fine_labels, only data, labels",
        ),
        (
            pickle("(I2\nI3071\nt", "u1", 6142, right.1, right.1),
            "data has the shape [2, 3071]",
        ),
        (
            pickle("(I2\nI32\nI32\nI3\nt", "u1", 6144, right.1, right.1),
            "data has the shape [2, 32, 32, 3]",
        ),
        (
            pickle(right.0, "f4", 24576, right.1, right.1),
            "elements of type f4",
        ),
        (
            pickle(right.0, "u1", 6143, right.1, right.1),
            "does not match its 6143 bytes",
        ),
        (
            pickle("(I0\nI3072\nt", "u1", 0, "(l", "(l"),
            "data has no images",
        ),
        (
            pickle(right.0, "u1", 6144, "(lI1\na", right.1),
            "1 fine_labels for 2 images",
        ),
        (
            pickle(right.0, "u1", 6144, "(lI1\naI100\na", right.1),
            "fine label 100 of image 1 is out of range; expected 0 to 99",
        ),
        (
            pickle(right.0, "u1", 6144, right.1, "(lI-1\naI2\na"),
            "coarse label -1 of image 0 is out of range; expected 0 to 19",
        ),
        (
            pickle(right.0, "u1", 6144, "(lF1.5\naI2\na", right.1),
            "fine_labels has values that are not integers",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        write_both(folder.path(), &bytes);
        let message = refusal(DatasetKind::Cifar100, folder.path());
        assert!(message.contains(says), "{message}");
        assert!(message.contains("/train:"), "{message}");
        assert!(message.contains("expected "), "{message}");
    }
    let folder = TempDir::new().unwrap();
    write_both(
        folder.path(),
        &pickle(right.0, "u1", 6144, right.1, right.1),
    );
    assert!(read(DatasetKind::Cifar100, folder.path()).is_ok());
    std::fs::remove_file(folder.path().join("train")).unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("there is no train;"), "{message}");
}

/// A pickle that would run a command in Python is a value without a meaning here.
#[test]
fn pickles_are_not_executed() {
    let folder = TempDir::new().unwrap();
    let trace = folder.path().join("trace");
    let mut file = std::fs::File::create(folder.path().join("train")).unwrap();
    write!(file, "cos\nsystem\n(S'touch {}'\ntR.", trace.display()).unwrap();
    std::fs::write(folder.path().join("test"), published()).unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("not a dictionary"), "{message}");
    assert!(!trace.exists());
}

/// For any wrong byte and any length: a result or an error, never a panic.
#[test]
fn damaged_pickles_do_not_panic() {
    let folder = TempDir::new().unwrap();
    let whole = published();
    write_both(folder.path(), &whole);
    // Most of the file are pixels.
    let pixels = 250..whole.len() - 350;
    for at in (0..whole.len()).filter(|at| !pixels.contains(at) || at % 97 == 0) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        for bytes in [&changed[..], &whole[..at]] {
            std::fs::write(folder.path().join("train"), bytes).unwrap();
            let _ = read(DatasetKind::Cifar100, folder.path());
        }
    }
}
