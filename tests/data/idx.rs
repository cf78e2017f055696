//! MNIST and Fashion-MNIST.

use std::io::Write;
use std::path::Path;

use candle_core::DType;
use candle_mish::data::{DataError, DataOptions, Dataset, DatasetKind, ImageSet, open};
use tempfile::TempDir;

use crate::fixture::{Rows, byte, options};

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The bytes of grey image `i`.
fn grey(i: usize) -> Vec<u8> {
    let pixel = |at: usize| byte(i, 1, at / 28, at % 28);
    (0..28 * 28).map(pixel).collect()
}

fn file(sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    for size in sizes {
        bytes.extend((*size as u32).to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

fn images(first: usize, count: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (first..first + count).flat_map(grey).collect();
    file(&[count, 28, 28], &pixels)
}

fn labels(first: usize, count: usize) -> Vec<u8> {
    let labels: Vec<u8> = (first..first + count).map(|i| (i % 10) as u8).collect();
    file(&[count], &labels)
}

/// 30 training and 10 test images, in the order of [`FILES`].
fn contents() -> [Vec<u8>; 4] {
    [
        images(0, 30),
        labels(0, 30),
        images(100, 10),
        labels(100, 10),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn write(folder: &Path, name: impl Fn(&str) -> String, content: impl Fn(&[u8]) -> Vec<u8>) {
    std::fs::create_dir_all(folder).unwrap();
    for (file, bytes) in FILES.iter().zip(contents()) {
        std::fs::write(folder.join(name(file)), content(&bytes)).unwrap();
    }
}

fn read(options: DataOptions) -> Result<Dataset, DataError> {
    let cache = TempDir::new().unwrap();
    open(&DataOptions {
        cache_dir: Some(cache.path().to_owned()),
        ..options
    })
}

fn with_pad(dataset: DatasetKind, folder: &Path, pad: Option<usize>) -> DataOptions {
    DataOptions {
        pad,
        ..options(dataset, folder, folder)
    }
}

fn mnist(folder: &Path) -> Result<Dataset, DataError> {
    read(with_pad(DatasetKind::Mnist, folder, None))
}

fn refusal(folder: &Path) -> String {
    let message = mnist(folder).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// Checks images from `first` on with a black border of `pad`.
fn assert_holds(set: &ImageSet, first: usize, count: usize, pad: usize) {
    let side = 28 + 2 * pad;
    assert_eq!((set.len(), set.channels()), (count, 1));
    assert_eq!((set.height(), set.width()), (side, side));
    for i in 0..count {
        let image = set.image(i).unwrap();
        for row in 0..side {
            for column in 0..side {
                let inside = |at: usize| (pad..pad + 28).contains(&at);
                let right = if inside(row) && inside(column) {
                    byte(first + i, 1, row - pad, column - pad)
                } else {
                    0
                };
                assert_eq!(
                    image[row * side + column],
                    right,
                    "image {i} at {row}, {column}"
                );
            }
        }
        assert_eq!(set.labels()[i] as usize, (first + i) % 10);
    }
}

#[test]
fn idx_files_are_read_packed_or_not_under_each_name() {
    let names: [fn(&str) -> String; 4] = [
        |name| name.to_owned(),
        |name| format!("{name}.gz"),
        |name| name.replace("-idx", ".idx"),
        |name| name.replace("-idx", ".idx") + ".gz",
    ];
    for name in names {
        // The content says whether a file is packed.
        for content in [gzip, <[u8]>::to_vec] {
            let folder = TempDir::new().unwrap();
            write(folder.path(), name, content);
            let data = mnist(folder.path()).unwrap();
            assert_holds(&data.train, 0, 30, 2);
            assert_holds(&data.test, 100, 10, 2);
            assert_eq!((data.name.as_str(), data.classes.len()), ("mnist", 10));
            assert_eq!(data.classes[7], "7");
            assert_eq!(data.source.files.len(), 4);
        }
    }
}

#[test]
fn the_folders_of_torchvision_and_the_hub_are_searched() {
    for (dataset, subfolder) in [
        (DatasetKind::Mnist, "MNIST/raw"),
        (DatasetKind::Mnist, "raw"),
        (DatasetKind::Mnist, "data"),
        (DatasetKind::FashionMnist, "FashionMNIST/raw"),
        (DatasetKind::FashionMnist, "data/fashion"),
    ] {
        let folder = TempDir::new().unwrap();
        write(
            &folder.path().join(subfolder),
            str::to_owned,
            <[u8]>::to_vec,
        );
        let data = read(with_pad(dataset, folder.path(), None)).unwrap();
        assert_holds(&data.train, 0, 30, 2);
    }
    // Both data sets in one folder of torchvision.
    let folder = TempDir::new().unwrap();
    write(
        &folder.path().join("MNIST/raw"),
        str::to_owned,
        <[u8]>::to_vec,
    );
    let message = read(with_pad(DatasetKind::FashionMnist, folder.path(), None)).unwrap_err();
    assert!(
        message.to_string().contains("no Fashion-MNIST in"),
        "{message}"
    );
}

#[test]
fn the_border_is_black_and_its_width_an_option() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), str::to_owned, <[u8]>::to_vec);
    for (pad, width) in [(None, 2), (Some(0), 0), (Some(1), 1), (Some(7), 7)] {
        let data = read(with_pad(DatasetKind::Mnist, folder.path(), pad)).unwrap();
        assert_holds(&data.train, 0, 30, width);
    }
    for (dataset, pad, says) in [
        (
            DatasetKind::Mnist,
            257,
            "pad = 257: expected 0 to 256 pixels",
        ),
        (DatasetKind::Cifar100, 2, "pad = 2: cifar100 is not padded"),
        (DatasetKind::Auto, 1, "pad = 1: auto is not padded"),
        (
            DatasetKind::Synthetic,
            2,
            "pad = 2: synthetic is not padded",
        ),
    ] {
        let error = read(with_pad(dataset, folder.path(), Some(pad))).unwrap_err();
        assert!(error.to_string().starts_with(says), "{error}");
    }
}

#[test]
fn the_border_follows_from_the_size() {
    for (dataset, size, pad) in [
        (DatasetKind::Mnist, 32, Some(2)),
        (DatasetKind::FashionMnist, 28, Some(0)),
        (DatasetKind::Mnist, 31, None),
        (DatasetKind::Mnist, 27, None),
        (DatasetKind::Cifar100, 32, None),
    ] {
        assert_eq!(dataset.pad_to(size), pad, "{dataset} at {size}");
    }
}

/// Mean and standard deviation over all pixels, in [0, 1].
pub fn statistics(set: &ImageSet) -> (f64, f64) {
    let (mut sum, mut squares, mut count) = (0u64, 0u64, 0usize);
    for i in 0..set.len() {
        let image = set.image(i).unwrap();
        count += image.len();
        for byte in image.iter().map(|byte| u64::from(*byte)) {
            sum += byte;
            squares += byte * byte;
        }
    }
    let mean = sum as f64 / count as f64;
    let variance = squares as f64 / count as f64 - mean * mean;
    (mean / 255.0, variance.sqrt() / 255.0)
}

/// Statistics of the padded images follow from those of the images: black adds nothing to the sums.
/// tests/data/real.rs compares them with the real images.
#[test]
fn statistics_include_the_border() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), str::to_owned, <[u8]>::to_vec);
    let of = |dataset, pad| {
        let data = read(with_pad(dataset, folder.path(), Some(pad))).unwrap();
        (f64::from(data.mean[0]), f64::from(data.std[0]))
    };
    // The values that torchvision's users give for images without a border, in four digits.
    let near = |(mean, std): (f64, f64), right: (f64, f64)| {
        assert!(
            (mean - right.0).abs() < 5e-5 && (std - right.1).abs() < 5e-5,
            "{mean} {std}"
        );
    };
    near(of(DatasetKind::Mnist, 0), (0.1307, 0.3081));
    near(of(DatasetKind::FashionMnist, 0), (0.2860, 0.3530));
    for dataset in [DatasetKind::Mnist, DatasetKind::FashionMnist] {
        let (mean, std) = of(dataset, 0);
        let (padded_mean, padded_std) = of(dataset, 2);
        let share = (28.0 * 28.0) / (32.0 * 32.0);
        assert!((padded_mean - mean * share).abs() < 1e-6);
        let square = (mean * mean + std * std) * share;
        assert!((padded_std.powi(2) + padded_mean.powi(2) - square).abs() < 1e-6);
    }
}

#[test]
fn intact_files_are_read_as_candle_datasets_reads_them() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), str::to_owned, <[u8]>::to_vec);
    let theirs = candle_datasets::vision::mnist::load_dir(folder.path()).unwrap();
    let data = read(with_pad(DatasetKind::Mnist, folder.path(), Some(0))).unwrap();
    let ours = candle_datasets::vision::Dataset::try_from(&data).unwrap();
    for (ours, theirs) in [
        (&ours.train_images, &theirs.train_images),
        (&ours.test_images, &theirs.test_images),
        (&ours.train_labels, &theirs.train_labels),
        (&ours.test_labels, &theirs.test_labels),
    ] {
        let values = |tensor: &candle_core::Tensor| {
            let flat = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
            flat.to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(ours), values(theirs));
    }
    assert_eq!(ours.labels, theirs.labels);
}

#[test]
fn parquet_files_of_the_hub_are_read() {
    for (dataset, subfolder) in [
        (DatasetKind::Mnist, "mnist"),
        (DatasetKind::FashionMnist, "fashion_mnist"),
    ] {
        let folder = TempDir::new().unwrap();
        for (split, first, count) in [("train", 0, 30), ("test", 100, 10)] {
            let png = |i| {
                let image = image::GrayImage::from_raw(28, 28, grey(i)).unwrap();
                // Some as RGB with equal channels.
                let image = image::DynamicImage::from(image);
                let image = if i % 3 == 0 {
                    image.to_rgb8().into()
                } else {
                    image
                };
                let mut bytes = std::io::Cursor::new(Vec::new());
                image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
                bytes.into_inner()
            };
            let rows = Rows {
                images: (first..first + count).map(png).collect(),
                image: "image",
                ..Rows::cifar10(first, count)
            };
            let name = format!("{subfolder}/{split}-00000-of-00001.parquet");
            rows.write(&folder.path().join(name));
        }
        let data = read(with_pad(dataset, folder.path(), None)).unwrap();
        assert_holds(&data.train, 0, 30, 2);
        assert_holds(&data.test, 100, 10, 2);
        assert!(!data.source.from_cache);
    }
}

/// MNIST and Fashion-MNIST have files of the same names and sizes, and other means.
#[test]
fn one_data_set_in_place_of_the_other_is_noticed() {
    let folder = TempDir::new().unwrap();
    // Images of one value with the mean of Fashion-MNIST.
    let count = 60_000;
    let pixels = gzip(&file(&[count, 28, 28], &vec![73; count * 28 * 28]));
    let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
    std::fs::write(folder.path().join(FILES[0]), pixels).unwrap();
    std::fs::write(folder.path().join(FILES[1]), file(&[count], &labels)).unwrap();
    std::fs::write(folder.path().join(FILES[2]), images(100, 10)).unwrap();
    std::fs::write(folder.path().join(FILES[3]), self::labels(100, 10)).unwrap();
    for (dataset, noticed) in [
        (DatasetKind::Mnist, true),
        (DatasetKind::FashionMnist, false),
    ] {
        let data = read(with_pad(dataset, folder.path(), None)).unwrap();
        let notes = &data.source.notes;
        let found = notes
            .iter()
            .any(|note| note.contains("is it another data set?"));
        assert_eq!(found, noticed, "{notes:?}");
    }
}

#[test]
fn bad_files_are_refused_with_their_path() {
    let mut foreign = labels(0, 30);
    foreign[8 + 17] = 10;
    let mut other_type = images(0, 30);
    other_type[2] = 13;
    let mut huge = images(0, 30);
    huge[4..16].fill(0xff);
    let large = file(&[30, 32, 32], &vec![0; 30 * 32 * 32]);
    let packed = gzip(&images(0, 30));
    let half = &packed[..packed.len() / 2];
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20].fill(0x55);
    let whole = images(0, 30);
    let longer = [&whole[..], &[0; 3]].concat();
    for (index, bytes, says) in [
        (0, &whole[..0], "the file is empty"),
        (0, &whole[..3], "3 bytes, too few for a header"),
        (0, &whole[..10], "10 bytes, too few for a header"),
        (
            0,
            &whole[..5000],
            "4984 bytes of data where the header announces 30 x 28 x 28",
        ),
        (
            0,
            &longer,
            "23523 bytes of data where the header announces 30 x 28 x 28",
        ),
        (0, &huge, "announces 4294967295 x 4294967295 x 4294967295"),
        (
            0,
            &other_type,
            "the magic number is 0x00000d03, not 0x00000803",
        ),
        (
            0,
            &labels(0, 30),
            "the magic number is 0x00000801, not 0x00000803",
        ),
        (0, &b"<!DOCTYPE html>"[..], "the magic number is 0x3c21444f"),
        (0, &large, "its images are 32 x 32"),
        (0, &file(&[0, 28, 28], &[]), "the file has no images"),
        (0, half, "the gzip file is truncated or damaged"),
        (0, &damaged, "the gzip file is truncated or damaged"),
        (1, &labels(0, 29), "29 labels for 30 images"),
        (
            1,
            &labels(0, 30)[..20],
            "12 bytes of data where the header announces 30",
        ),
        (
            1,
            &images(0, 30),
            "the magic number is 0x00000803, not 0x00000801",
        ),
        (
            1,
            &foreign,
            "label 10 of image 17 is out of range; expected 0 to 9",
        ),
        (3, &labels(0, 11), "11 labels for 10 images"),
    ] {
        let folder = TempDir::new().unwrap();
        write(folder.path(), str::to_owned, <[u8]>::to_vec);
        std::fs::write(folder.path().join(FILES[index]), bytes).unwrap();
        let message = refusal(folder.path());
        assert!(message.contains(says), "{message}");
        assert!(message.contains(FILES[index]), "{message}");
        assert!(message.contains("; expected "), "{message}");
    }
}

#[test]
fn missing_files_are_named() {
    let folder = TempDir::new().unwrap();
    let message = refusal(folder.path());
    assert!(message.contains("no MNIST in"), "{message}");
    assert!(message.contains("each with or without .gz"), "{message}");
    write(folder.path(), str::to_owned, <[u8]>::to_vec);
    std::fs::remove_file(folder.path().join(FILES[3])).unwrap();
    let message = refusal(folder.path());
    assert!(
        message.contains("there is no t10k-labels-idx1-ubyte"),
        "{message}"
    );
}

/// For any wrong byte and any length: a result or an error, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), str::to_owned, <[u8]>::to_vec);
    let (plain, packed) = (images(0, 2), gzip(&images(0, 2)));
    std::fs::write(folder.path().join(FILES[1]), labels(0, 2)).unwrap();
    for whole in [plain, packed] {
        for at in (0..whole.len()).filter(|at| *at < 40 || at % 31 == 0) {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            for bytes in [&changed[..], &whole[..at]] {
                std::fs::write(folder.path().join(FILES[0]), bytes).unwrap();
                let _ = mnist(folder.path());
            }
        }
    }
}
