//! Data sets from folders and archives.

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use candle_mish::data::{DataError, Dataset, DatasetKind, ImageSet, Origin, open};
use tempfile::TempDir;

use crate::fixture::{Rows, byte, options, planar, png, records, write_cifar100};

fn read(dataset: DatasetKind, folder: &Path) -> Result<Dataset, DataError> {
    let cache = TempDir::new().unwrap();
    open(&options(dataset, folder, cache.path()))
}

/// The error for a folder, which must be one line.
fn refusal(dataset: DatasetKind, folder: &Path) -> String {
    let message = read(dataset, folder).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn assert_holds(set: &ImageSet, first: usize, count: usize, classes: u32) {
    assert_eq!(set.len(), count);
    assert_eq!((set.height(), set.width()), (32, 32));
    for i in 0..count {
        assert_eq!(set.image(i).unwrap(), planar(first + i), "image {i}");
        assert_eq!(set.labels()[i], (first + i) as u32 % classes);
        if let Some(coarse) = set.coarse_labels() {
            assert_eq!(coarse[i], (first + i) as u32 % 20);
        }
    }
}

#[test]
fn parquet_is_read_pixel_by_pixel_upright() {
    let folder = TempDir::new().unwrap();
    write_cifar100(folder.path());
    let data = read(DatasetKind::Cifar100, folder.path()).unwrap();
    assert_holds(&data.train, 0, 30, 100);
    assert_holds(&data.test, 100, 10, 100);
    assert!(data.train.coarse_labels().is_some());
    assert_eq!(data.name, "cifar100");
    assert_eq!((data.classes.len(), data.coarse_classes.len()), (100, 20));
    assert_eq!(data.source.origin, Origin::Folder);
    assert_eq!(data.source.files.len(), 2);
    assert_eq!(
        data.source.notes.len(),
        2,
        "30 and 10 images are not CIFAR-100's counts"
    );
    // Row by row, not column by column: one step to the right differs from one step down.
    let image = data.train.image(3).unwrap();
    assert_eq!(image[1], byte(3, 0, 0, 1));
    assert_eq!(image[32], byte(3, 0, 1, 0));
    assert_ne!(image[1], image[32]);
}

/// The images as candle-datasets loads them. Its loader needs the Hub, so this repeats its layout
/// conversion, a permutation of [N, 32, 32, 3] by (0, 3, 2, 1).
#[test]
fn candles_own_conversion_transposes_and_ours_does_not() {
    let folder = TempDir::new().unwrap();
    write_cifar100(folder.path());
    let data = read(DatasetKind::Cifar100, folder.path()).unwrap();
    let ours = candle_datasets::vision::Dataset::try_from(&data).unwrap();
    assert_eq!(ours.train_images.dims(), [30, 3, 32, 32]);
    assert_eq!(ours.labels, 100);
    let decoded = image::load_from_memory(&png(5, 32, 32)).unwrap().to_rgb8();
    let theirs = Tensor::from_vec(decoded.into_raw(), (32, 32, 3), &candle_core::Device::Cpu)
        .unwrap()
        .permute((2, 1, 0))
        .unwrap();
    let theirs = theirs.to_dtype(candle_core::DType::F32).unwrap();
    let theirs = (theirs / 255.0).unwrap().to_vec3::<f32>().unwrap();
    let ours = ours.train_images.get(5).unwrap().to_vec3::<f32>().unwrap();
    let mut differing = 0;
    for channel in 0..3 {
        for row in 0..32 {
            for column in 0..32 {
                let right = f32::from(byte(5, channel, row, column)) / 255.0;
                assert!((ours[channel][row][column] - right).abs() < 1e-6);
                assert!((theirs[channel][column][row] - right).abs() < 1e-6);
                differing += usize::from((theirs[channel][row][column] - right).abs() > 1e-6);
            }
        }
    }
    assert!(
        differing > 2500,
        "only {differing} pixels differ from the transposed image"
    );
}

#[test]
fn files_may_lie_in_the_publishers_subfolders() {
    for subfolder in ["cifar100", "data"] {
        let folder = TempDir::new().unwrap();
        write_cifar100(&folder.path().join(subfolder));
        let data = read(DatasetKind::Cifar100, folder.path()).unwrap();
        assert_holds(&data.train, 0, 30, 100);
    }
}

#[test]
fn several_shards_are_read_in_order_and_none_may_lack() {
    let folder = TempDir::new().unwrap();
    let shard = |k: usize| {
        folder
            .path()
            .join(format!("train-0000{k}-of-00002.parquet"))
    };
    Rows::cifar100(20, 10).write(&shard(1));
    Rows::cifar100(100, 10).write(&folder.path().join("test-00000-of-00001.parquet"));
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(
        message.contains("1 of 2 train-*.parquet files"),
        "{message}"
    );
    Rows::cifar100(0, 20).write(&shard(0));
    let data = read(DatasetKind::Cifar100, folder.path()).unwrap();
    assert_holds(&data.train, 0, 30, 100);
}

#[test]
fn other_column_names_are_understood() {
    let folder = TempDir::new().unwrap();
    for (split, first) in [("train", 0), ("test", 100)] {
        let rows = Rows {
            image: "image",
            coarse: None,
            ..Rows::cifar100(first, 12)
        };
        rows.write(&folder.path().join(format!("{split}.parquet")));
    }
    let data = read(DatasetKind::Auto, folder.path()).unwrap();
    assert_holds(&data.train, 0, 12, 100);
    assert!(data.train.coarse_labels().is_none());
}

#[test]
fn cifar10_is_read_from_parquet_and_binary_files() {
    let folder = TempDir::new().unwrap();
    Rows::cifar10(0, 25).write(
        &folder
            .path()
            .join("plain_text/train-00000-of-00001.parquet"),
    );
    Rows::cifar10(100, 5).write(&folder.path().join("plain_text/test-00000-of-00001.parquet"));
    let data = read(DatasetKind::Cifar10, folder.path()).unwrap();
    assert_holds(&data.train, 0, 25, 10);
    assert_holds(&data.test, 100, 5, 10);
    assert_eq!(data.classes[9], "truck");

    let folder = TempDir::new().unwrap();
    for k in 0..5 {
        let path = folder.path().join(format!("data_batch_{}.bin", k + 1));
        std::fs::write(path, records(k * 4, 4, false)).unwrap();
    }
    std::fs::write(folder.path().join("test_batch.bin"), records(100, 5, false)).unwrap();
    let data = read(DatasetKind::Cifar10, folder.path()).unwrap();
    assert_holds(&data.train, 0, 20, 10);
    assert_holds(&data.test, 100, 5, 10);
}

fn write_binary(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("train.bin"), records(0, 30, true)).unwrap();
    std::fs::write(folder.join("test.bin"), records(100, 10, true)).unwrap();
}

fn write_archive(path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    let packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut archive = tar::Builder::new(packer);
    for (name, bytes) in [
        ("train.bin", records(0, 30, true)),
        ("fine_label_names.txt", b"apple\n".to_vec()),
        ("test.bin", records(100, 10, true)),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let path = format!("cifar-100-binary/{name}");
        archive.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
}

#[test]
fn binary_files_and_their_archive_are_read() {
    let folder = TempDir::new().unwrap();
    write_binary(&folder.path().join("cifar-100-binary"));
    for path in [
        folder.path().to_owned(),
        folder.path().join("cifar-100-binary"),
    ] {
        let data = read(DatasetKind::Cifar100, &path).unwrap();
        assert_holds(&data.train, 0, 30, 100);
        assert_holds(&data.test, 100, 10, 100);
        assert!(data.train.coarse_labels().is_some());
    }

    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("cifar-100-binary.tar.gz");
    write_archive(&archive);
    for path in [folder.path(), &archive] {
        let data = read(DatasetKind::Cifar100, path).unwrap();
        assert_holds(&data.train, 0, 30, 100);
        assert_holds(&data.test, 100, 10, 100);
    }
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("cannot be unpacked"), "{message}");
}

#[test]
fn a_folder_without_the_data_set_is_refused() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent");
    let message = refusal(DatasetKind::Auto, &absent);
    assert!(
        message.contains("no such folder") && message.contains("absent"),
        "{message}"
    );
    let message = refusal(DatasetKind::Auto, folder.path());
    assert!(
        message.contains("empty") && message.contains("train-*.parquet"),
        "{message}"
    );
    std::fs::write(folder.path().join("notes.txt"), "nothing").unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("none of the files"), "{message}");
    let message = refusal(DatasetKind::Cifar100, &folder.path().join("notes.txt"));
    assert!(message.contains("this is a file"), "{message}");
    std::fs::write(folder.path().join("cifar-100-python.tar.gz"), "pickles").unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(
        message.contains("cifar-100-python.tar.gz: the archive cannot be unpacked"),
        "{message}"
    );
}

#[test]
fn half_a_data_set_is_refused() {
    let folder = TempDir::new().unwrap();
    write_cifar100(folder.path());
    std::fs::remove_file(folder.path().join("test-00000-of-00001.parquet")).unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("there is no test-*.parquet"), "{message}");
    let folder = TempDir::new().unwrap();
    write_binary(folder.path());
    std::fs::remove_file(folder.path().join("train.bin")).unwrap();
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("there is no train.bin"), "{message}");
}

/// A folder whose training file is `rows`.
fn with_train(rows: &Rows) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    write_cifar100(folder.path());
    let train = folder.path().join("train-00000-of-00001.parquet");
    rows.write(&train);
    (folder, train)
}

#[test]
fn bad_parquet_files_are_refused_with_their_path() {
    let (folder, train) = with_train(&Rows::cifar100(0, 30));
    let whole = std::fs::read(&train).unwrap();
    for (bytes, says) in [
        (&whole[..0], "the file is empty"),
        (
            &whole[..whole.len() / 2],
            "truncated, or not a parquet file",
        ),
        (
            &whole[..whole.len() - 1],
            "truncated, or not a parquet file",
        ),
        (
            &b"label,image\n0,x\n"[..],
            "truncated, or not a parquet file",
        ),
    ] {
        std::fs::write(&train, bytes).unwrap();
        let message = refusal(DatasetKind::Cifar100, folder.path());
        assert!(message.contains(says), "{message}");
        assert!(
            message.contains("train-00000-of-00001.parquet"),
            "{message}"
        );
        assert!(message.contains("expected"), "{message}");
    }
    let none = Rows::cifar100(0, 0);
    let (folder, _) = with_train(&none);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("no rows"), "{message}");
}

#[test]
fn foreign_columns_are_named() {
    let (folder, _) = with_train(&Rows::cifar10(0, 30));
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("no column fine_label"), "{message}");
    let rows = Rows {
        image: "text",
        ..Rows::cifar100(0, 30)
    };
    let (folder, _) = with_train(&rows);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("no column img"), "{message}");
}

#[test]
fn bad_labels_and_images_are_refused_with_their_row() {
    for label in [100, -1, i64::MAX] {
        let mut rows = Rows::cifar100(0, 30);
        rows.labels[17] = label;
        let (folder, _) = with_train(&rows);
        let message = refusal(DatasetKind::Cifar100, folder.path());
        let says = format!("label {label} of image 17 is out of range; expected 0 to 99");
        assert!(message.contains(&says), "{message}");
    }
    let mut rows = Rows::cifar100(0, 30);
    rows.coarse.as_mut().unwrap()[3] = 20;
    let (folder, _) = with_train(&rows);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("coarse label 20 of image 3"), "{message}");

    let mut rows = Rows::cifar100(0, 30);
    rows.images[9] = png(9, 32, 31);
    let (folder, _) = with_train(&rows);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(
        message.contains("image 9: its size is 32 x 31"),
        "{message}"
    );
    rows.images[9] = b"not an image".to_vec();
    let (folder, _) = with_train(&rows);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("image 9:"), "{message}");
    let whole = png(9, 32, 32);
    rows.images[9] = whole[..whole.len() / 2].to_vec();
    let (folder, _) = with_train(&rows);
    let message = refusal(DatasetKind::Cifar100, folder.path());
    assert!(message.contains("image 9:"), "{message}");
}

#[test]
fn bad_binary_files_are_refused_with_their_path() {
    let folder = TempDir::new().unwrap();
    write_binary(folder.path());
    let train = folder.path().join("train.bin");
    let whole = std::fs::read(&train).unwrap();
    let mut foreign = whole.clone();
    foreign[3074 * 2 + 1] = 100;
    let mut coarse = whole.clone();
    coarse[3074 * 5] = 20;
    for (bytes, says) in [
        (&whole[..0], "the file is empty"),
        (&whole[..1000], "truncated"),
        (&whole[..whole.len() - 1], "29 records and 3073 bytes more"),
        (&foreign[..], "label 100 of image 2 is out of range"),
        (&coarse[..], "coarse label 20 of image 5 is out of range"),
    ] {
        std::fs::write(&train, bytes).unwrap();
        let message = refusal(DatasetKind::Cifar100, folder.path());
        assert!(message.contains(says), "{message}");
        assert!(message.contains("train.bin"), "{message}");
    }
}

/// For any wrong byte in a file: a result or an error, never a panic.
#[test]
fn a_damaged_parquet_file_does_not_panic() {
    let (folder, train) = with_train(&Rows::cifar100(0, 6));
    let whole = std::fs::read(&train).unwrap();
    let step = (whole.len() / 1500).max(1);
    let tail = whole.len().saturating_sub(900)..whole.len();
    for at in (0..whole.len()).step_by(step).chain(tail) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&train, bytes).unwrap();
        // Most are refused. A flipped bit in a label or in metadata may leave a valid file.
        let _ = read(DatasetKind::Cifar100, folder.path());
    }
}

#[test]
fn names_of_data_sets_round_trip_and_suggest() {
    for kind in DatasetKind::ALL {
        assert_eq!(kind.to_string().parse::<DatasetKind>().unwrap(), kind);
    }
    assert_eq!(
        "CIFAR-100".parse::<DatasetKind>().unwrap(),
        DatasetKind::Cifar100
    );
    let message = "cifar1000".parse::<DatasetKind>().unwrap_err().to_string();
    assert!(message.contains("did you mean 'cifar100'?"), "{message}");
    let message = "imagenet".parse::<DatasetKind>().unwrap_err().to_string();
    assert!(message.contains("'imagenet'; expected auto"), "{message}");
}
