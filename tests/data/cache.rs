//! The cache of decoded images.

use std::path::{Path, PathBuf};

use candle_mish::data::{Dataset, DatasetKind, open};
use tempfile::TempDir;

use crate::fixture::{Rows, options, planar, write_cifar100};

fn read(folder: &Path, cache: &Path) -> Dataset {
    open(&options(DatasetKind::Cifar100, folder, cache)).unwrap()
}

fn assert_right(data: &Dataset) {
    assert_eq!((data.train.len(), data.test.len()), (30, 10));
    assert_eq!(data.train.image(29).unwrap(), planar(29));
    assert_eq!(data.test.image(0).unwrap(), planar(100));
    assert_eq!(data.train.labels()[29], 29);
    assert_eq!(data.train.coarse_labels().unwrap()[29], 9);
}

fn files(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_second_start_decodes_nothing() {
    let (folder, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_cifar100(folder.path());
    let first = read(folder.path(), cache.path());
    assert!(!first.source.from_cache);
    assert_eq!(
        files(cache.path()).len(),
        2,
        "whole files only, no temporary ones"
    );
    let second = read(folder.path(), cache.path());
    assert!(second.source.from_cache);
    assert_right(&second);
}

#[test]
fn a_damaged_cache_is_decoded_again() {
    let (folder, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_cifar100(folder.path());
    read(folder.path(), cache.path());
    for path in files(cache.path()) {
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 8, 15, 16, 40, 200, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let data = read(folder.path(), cache.path());
            assert!(!data.source.from_cache, "byte {at} of {}", path.display());
            assert_right(&data);
            assert_eq!(std::fs::read(&path).unwrap(), whole, "it is written again");
        }
        for length in [0, 7, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_right(&read(folder.path(), cache.path()));
        }
        std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert_right(&read(folder.path(), cache.path()));
    }
}

#[test]
fn a_changed_file_is_decoded_again() {
    let (folder, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_cifar100(folder.path());
    read(folder.path(), cache.path());
    Rows::cifar100(50, 30).write(&folder.path().join("train-00000-of-00001.parquet"));
    let data = read(folder.path(), cache.path());
    assert!(!data.source.from_cache);
    assert_eq!(data.train.image(0).unwrap(), planar(50));
    assert!(read(folder.path(), cache.path()).source.from_cache);
}

#[test]
fn a_cache_that_cannot_be_written_does_no_harm() {
    let folder = TempDir::new().unwrap();
    write_cifar100(folder.path());
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for _ in 0..2 {
        let data = read(folder.path(), &file.join("cache"));
        assert!(!data.source.from_cache);
        assert_right(&data);
    }
}

/// A folder in the place of a cache file cannot be replaced, as on a read-only file system.
#[test]
fn a_cache_that_cannot_be_written_is_still_read() {
    let (folder, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_cifar100(folder.path());
    read(folder.path(), cache.path());
    let of_test = |path: &&PathBuf| path.to_str().unwrap().contains("-test-");
    let all = files(cache.path());
    let test = all.iter().find(of_test).unwrap();
    std::fs::remove_file(test).unwrap();
    std::fs::create_dir_all(test.join("in the way")).unwrap();
    let data = read(folder.path(), cache.path());
    assert!(!data.source.from_cache, "the test images are decoded");
    assert_right(&data);
    assert_eq!(files(cache.path()).len(), 2, "no temporary files");
}
