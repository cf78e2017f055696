//! Parquet files as they are found on the Hub and on disks.

use std::path::Path;

use candle_mish::data::{DataError, Dataset, DatasetKind, ImageSet, open};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use tempfile::TempDir;

use crate::fixture::{Rows, byte, options, planar};

fn read(dataset: DatasetKind, path: &Path) -> Result<Dataset, DataError> {
    let cache = TempDir::new().unwrap();
    open(&options(dataset, path, cache.path()))
}

fn refusal(dataset: DatasetKind, path: &Path) -> String {
    let message = read(dataset, path).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// Writes 30 training and 10 test images of CIFAR-100, changed by `change`.
fn write(folder: &Path, [train, test]: [&str; 2], change: impl Fn(Rows) -> Rows) {
    change(Rows::cifar100(0, 30)).write(&folder.join(train));
    change(Rows::cifar100(100, 10)).write(&folder.join(test));
}

const NAMES: [&str; 2] = ["train.parquet", "test.parquet"];

fn assert_holds(set: &ImageSet, first: usize, count: usize) {
    assert_eq!(set.len(), count);
    for i in 0..count {
        assert_eq!(set.image(i).unwrap(), planar(first + i), "image {i}");
        assert_eq!(set.labels()[i] as usize, (first + i) % 100);
    }
}

fn assert_whole(data: &Dataset) {
    assert_holds(&data.train, 0, 30);
    assert_holds(&data.test, 100, 10);
}

#[test]
fn the_names_of_files_on_the_hub_are_understood() {
    for names in [
        NAMES,
        [
            "train-00000-of-00001.parquet",
            "test-00000-of-00001.parquet",
        ],
        [
            "data/train-00000-of-00001-b42b2b3f2c5b2b0e.parquet",
            "data/test-00000-of-00001-1ce1b5a0f7a3b2ac.parquet",
        ],
        ["cifar100/train/0000.parquet", "cifar100/test/0000.parquet"],
        ["train/0000.parquet", "test/0000.parquet"],
        [
            "cifar100/train/cifar100-train.parquet",
            "cifar100/test/part.parquet",
        ],
    ] {
        let folder = TempDir::new().unwrap();
        write(folder.path(), names, |rows| rows);
        assert_whole(&read(DatasetKind::Cifar100, folder.path()).unwrap());
    }
    let folder = TempDir::new().unwrap();
    for (split, first, count) in [("train", 0, 30), ("test", 100, 10)] {
        let path = folder
            .path()
            .join(format!("plain_text/{split}/0000.parquet"));
        Rows::cifar10(first, count).write(&path);
    }
    let data = read(DatasetKind::Cifar10, folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (30, 10));
}

/// A path to a file of one split finds the other split in its folder.
#[test]
fn one_of_the_files_stands_for_both() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), NAMES, |rows| rows);
    for name in NAMES {
        assert_whole(&read(DatasetKind::Cifar100, &folder.path().join(name)).unwrap());
    }
    std::fs::rename(
        folder.path().join(NAMES[1]),
        folder.path().join("all.parquet"),
    )
    .unwrap();
    let message = refusal(DatasetKind::Cifar100, &folder.path().join(NAMES[0]));
    assert!(message.contains("there is no test-*.parquet"), "{message}");
    let message = refusal(DatasetKind::Cifar100, &folder.path().join("all.parquet"));
    assert!(message.contains("all.parquet: this is a file"), "{message}");
}

#[test]
fn missing_shards_are_counted_in_every_layout() {
    for (names, says) in [
        (
            ["train-00001-of-00002-b42b2b.parquet", "test.parquet"],
            "it has 1 of 2 train-*.parquet files",
        ),
        (
            ["train/0002.parquet", "test/0000.parquet"],
            "it has 1 of 3 train-*.parquet files",
        ),
        (
            ["train/0000.parquet", "test/0001.parquet"],
            "it has 1 of 2 test-*.parquet files",
        ),
        (
            ["train/0000.parquet", "other/0000.parquet"],
            "there is no test-*.parquet",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        write(folder.path(), names, |rows| rows);
        let message = refusal(DatasetKind::Cifar100, folder.path());
        assert!(message.contains(says), "{message}");
    }
    // Two files in a folder are read in order.
    let folder = TempDir::new().unwrap();
    write(
        folder.path(),
        ["train/0001.parquet", "test/0000.parquet"],
        |rows| rows,
    );
    Rows::cifar100(0, 12).write(&folder.path().join("train/0000.parquet"));
    Rows::cifar100(12, 18).write(&folder.path().join("train/0001.parquet"));
    assert_whole(&read(DatasetKind::Cifar100, folder.path()).unwrap());
}

/// Damage in any codec's data is an error, never a panic.
#[test]
fn files_of_every_compression_are_read() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let folder = TempDir::new().unwrap();
        let packed = |rows| Rows {
            compression,
            ..rows
        };
        write(folder.path(), NAMES, packed);
        assert_whole(&read(DatasetKind::Cifar100, folder.path()).unwrap());
        let train = folder.path().join(NAMES[0]);
        packed(Rows::cifar100(0, 3)).write(&train);
        let whole = std::fs::read(&train).unwrap();
        for at in (0..whole.len()).step_by((whole.len() / 60).max(1)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&train, bytes).unwrap();
            let _ = read(DatasetKind::Cifar100, folder.path());
        }
    }
}

#[test]
fn an_unsupported_compression_is_named() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), NAMES, |rows| rows);
    let train = folder.path().join(NAMES[0]);
    let mut bytes = std::fs::read(&train).unwrap();
    // In the metadata of a column, its path precedes the codec: 1 for Snappy, 3 for LZO, as zigzag
    // integers.
    let snappy = b"fine_label\x15\x02";
    let columns: Vec<usize> = (0..bytes.len() - snappy.len())
        .filter(|&at| bytes[at..].starts_with(snappy))
        .collect();
    assert_eq!(columns.len(), 5, "one for each row group");
    for at in columns {
        bytes[at + snappy.len() - 1] = 6;
    }
    std::fs::write(&train, bytes).unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(
        message.contains("the compression LZO is not supported"),
        "{message}"
    );
    assert!(message.contains("expected Snappy, gzip"), "{message}");
}

#[test]
fn images_and_labels_are_found_under_common_names() {
    for image in ["img", "image", "images", "image_bytes"] {
        for (label, plain) in [
            ("fine_label", false),
            ("labels", true),
            ("fine_labels", true),
        ] {
            let folder = TempDir::new().unwrap();
            for (name, first, count) in [("train", 0, 30), ("test", 20, 10)] {
                let rows = Rows {
                    image,
                    label,
                    plain,
                    ..Rows::cifar100(first, count)
                };
                rows.write(&folder.path().join(format!("{name}.parquet")));
            }
            let data = read(DatasetKind::Cifar100, folder.path()).unwrap();
            assert_holds(&data.train, 0, 30);
            assert_holds(&data.test, 20, 10);
        }
    }
}

/// A column `label` may have the labels of another data set, or coarse labels.
#[test]
fn fine_labels_are_not_assumed() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), NAMES, |rows| Rows {
        label: "label",
        labels: rows.labels.iter().map(|label| label % 20).collect(),
        coarse: None,
        ..rows
    });
    let message = refusal(DatasetKind::Cifar100, folder.path());
    let says = "it has no column fine_label, and no label in its column label is above 19";
    assert!(message.contains(says), "{message}");
    // CIFAR-10 has one kind of labels.
    let folder = TempDir::new().unwrap();
    for (name, first, count) in [("train", 0, 30), ("test", 100, 10)] {
        let rows = Rows {
            label: "labels",
            ..Rows::cifar10(first, count)
        };
        rows.write(&folder.path().join(format!("{name}.parquet")));
    }
    assert!(read(DatasetKind::Cifar10, folder.path()).is_ok());
}

#[test]
fn jpeg_images_are_decoded() {
    let folder = TempDir::new().unwrap();
    let jpeg = |level: u8| {
        let image = image::RgbImage::from_pixel(32, 32, image::Rgb([level, 90, 200]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    };
    write(folder.path(), NAMES, |rows| Rows {
        images: (0..rows.images.len()).map(|i| jpeg(8 * i as u8)).collect(),
        ..rows
    });
    let data = read(DatasetKind::Cifar100, folder.path()).unwrap();
    for i in 0..30 {
        let image = data.train.image(i).unwrap();
        for (plane, right) in image.chunks_exact(1024).zip([8 * i as u8, 90, 200]) {
            assert!(
                plane.iter().all(|value| value.abs_diff(right) <= 4),
                "image {i}"
            );
        }
    }
}

/// As in image folders: the decoder alone fills the missing part of a JPEG with grey.
#[test]
fn cut_images_are_refused_in_every_format() {
    for format in [
        image::ImageFormat::Png,
        image::ImageFormat::Jpeg,
        image::ImageFormat::WebP,
    ] {
        let image = image::RgbImage::from_fn(32, 32, |x, y| {
            image::Rgb([0, 1, 2].map(|channel| byte(3, channel, y as usize, x as usize)))
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        let whole = bytes.into_inner();
        let folder = TempDir::new().unwrap();
        let with = |bytes: &[u8]| {
            write(folder.path(), NAMES, |mut rows| {
                rows.images[4] = bytes.to_vec();
                rows
            });
        };
        with(&whole);
        assert!(
            read(DatasetKind::Cifar100, folder.path()).is_ok(),
            "{format:?}"
        );
        with(&whole[..whole.len() * 2 / 3]);
        let message = refusal(DatasetKind::Cifar100, folder.path());
        assert!(message.contains("train.parquet: image 4: "), "{message}");
    }
}

/// The metadata of the Hub's `datasets` library names the classes.
#[test]
fn recorded_class_names_come_before_positions() {
    let named = |names: &[&str]| {
        let json = serde_json::json!({"info": {"features": {"label": {
            "names": names, "_type": "ClassLabel"
        }}}});
        vec![KeyValue::new("huggingface".to_owned(), json.to_string())]
    };
    let own = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ];
    let mut reversed = own;
    reversed.reverse();
    let numbers = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    for (names, note) in [
        (own, None),
        (reversed, Some("in another order: matched by name")),
        (
            numbers,
            Some("the classes 0, 1, 2, 3, 4, …, unlike CIFAR-10: matched by position"),
        ),
    ] {
        let folder = TempDir::new().unwrap();
        for (name, first, count) in [("train", 0, 30), ("test", 100, 10)] {
            let rows = Rows {
                metadata: named(&names),
                ..Rows::cifar10(first, count)
            };
            rows.write(&folder.path().join(format!("{name}.parquet")));
        }
        let cache = TempDir::new().unwrap();
        // From the files, then from the cache.
        for cached in [false, true] {
            let options = options(DatasetKind::Cifar10, folder.path(), cache.path());
            let data = open(&options).unwrap();
            assert_eq!(data.source.from_cache, cached);
            for (i, label) in data.test.labels().iter().enumerate() {
                let right = if names == reversed { 9 - i } else { i };
                assert_eq!(*label as usize, right);
            }
            let notes = &data.source.notes;
            let found = notes.iter().find(|note| note.contains("classes"));
            match note {
                Some(note) => assert!(found.unwrap().contains(note), "{notes:?}"),
                None => assert!(found.is_none(), "{notes:?}"),
            }
        }
    }
}
