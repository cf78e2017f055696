//! The real CIFAR-100 and MNIST, if `CIFAR100_DIR` and `MNIST_DIR` name their folders.

use std::path::PathBuf;

use candle_mish::data::{DataOptions, Dataset, DatasetKind, ImageSet, open};
use tempfile::TempDir;

use crate::fixture::options;
use crate::idx;

fn folder(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).filter(|value| !value.is_empty());
    if folder.is_none() {
        println!("real data: skipped, {variable} is not set");
    }
    folder.map(PathBuf::from)
}

fn counts(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    labels.iter().for_each(|label| counts[*label as usize] += 1);
    counts
}

/// Mean and standard deviation of each channel, of pixels in [0, 1].
fn statistics(set: &ImageSet) -> [(f64, f64); 3] {
    let (mut sums, mut squares) = ([0u64; 3], [0u64; 3]);
    for i in 0..set.len() {
        for (channel, plane) in set.image(i).unwrap().chunks_exact(1024).enumerate() {
            for byte in plane {
                sums[channel] += u64::from(*byte);
                squares[channel] += u64::from(*byte) * u64::from(*byte);
            }
        }
    }
    let pixels = (set.len() * 1024) as f64;
    std::array::from_fn(|channel| {
        let mean = sums[channel] as f64 / pixels;
        let variance = squares[channel] as f64 / pixels - mean * mean;
        (mean / 255.0, variance.sqrt() / 255.0)
    })
}

fn check(data: &Dataset) {
    assert_eq!((data.train.len(), data.test.len()), (50_000, 10_000));
    assert_eq!(data.source.notes, Vec::<String>::new());
    assert!(
        counts(data.train.labels(), 100)
            .iter()
            .all(|count| *count == 500)
    );
    assert!(
        counts(data.test.labels(), 100)
            .iter()
            .all(|count| *count == 100)
    );
    let coarse = data.train.coarse_labels().unwrap();
    assert!(counts(coarse, 20).iter().all(|count| *count == 2500));
    // Every fine class is in one coarse class; each coarse class has five.
    let mut parents = vec![None; 100];
    for (fine, coarse) in data.train.labels().iter().zip(coarse) {
        let parent = parents[*fine as usize].get_or_insert(*coarse);
        assert_eq!(parent, coarse);
    }
    let parent = |name: &str| {
        let fine = data.classes.iter().position(|class| class == name).unwrap();
        &data.coarse_classes[parents[fine].unwrap() as usize]
    };
    assert_eq!(parent("apple"), "fruit_and_vegetables");
    assert_eq!(parent("worm"), "non-insect_invertebrates");
    assert_eq!(parent("shark"), "fish");
    let published = [
        (0.507_075_16, 0.267_334_29),
        (0.486_548_87, 0.256_438_46),
        (0.440_917_84, 0.276_150_47),
    ];
    let measured = statistics(&data.train);
    for channel in 0..3 {
        let ((mean, std), (right_mean, right_std)) = (measured[channel], published[channel]);
        assert!(
            (mean - right_mean).abs() < 1e-7,
            "mean {mean}, published {right_mean}"
        );
        assert!(
            (std - right_std).abs() < 1e-7,
            "deviation {std}, published {right_std}"
        );
        assert!((f64::from(data.mean[channel]) - mean).abs() < 1e-6);
        assert!((f64::from(data.std[channel]) - std).abs() < 1e-6);
    }
}

/// CRC-32 of all pixels and of all labels as 32-bit integers.
fn checksums(set: &ImageSet) -> (u32, u32) {
    let (mut pixels, mut labels) = (flate2::Crc::new(), flate2::Crc::new());
    for (i, label) in set.labels().iter().enumerate() {
        pixels.update(&set.image(i).unwrap());
        labels.update(&label.to_le_bytes());
    }
    (pixels.sum(), labels.sum())
}

/// The values are those of torchvision 0.29.2's `CIFAR100`, `[N, 3, 32, 32]`.
#[test]
fn the_real_images_are_those_of_torchvision() {
    let Some(folder) = folder("CIFAR100_DIR") else {
        return;
    };
    let cache = TempDir::new().unwrap();
    let data = open(&options(DatasetKind::Cifar100, &folder, cache.path())).unwrap();
    assert_eq!(checksums(&data.train), (0xa667_7d57, 0x66f5_7d11));
    assert_eq!(checksums(&data.test), (0x8522_81f4, 0xda9a_baf2));
}

/// The checksums are those of torchvision 0.29.2's `MNIST` with `Pad(2)`, `[N, 1, 32, 32]`.
#[test]
fn the_real_digits_are_those_of_torchvision() {
    let Some(folder) = folder("MNIST_DIR") else {
        return;
    };
    let data = open(&options(DatasetKind::Mnist, &folder, &folder)).unwrap();
    assert_eq!(checksums(&data.train), (0x2396_ebda, 0xfe3c_2bd5));
    assert_eq!(checksums(&data.test), (0xe068_290a, 0xd43d_5a64));
    let data = open(&DataOptions {
        pad: Some(0),
        ..options(DatasetKind::Mnist, &folder, &folder)
    });
    let data = data.unwrap();
    assert_eq!(checksums(&data.train), (0xf363_9b56, 0xfe3c_2bd5));
    assert_eq!(checksums(&data.test), (0xe4ca_5f57, 0xd43d_5a64));
}

/// The published counts of each digit, and the mean and standard deviation that torchvision's users
/// give: 0.1307 and 0.3081.
#[test]
fn the_real_mnist_is_whole() {
    let Some(folder) = folder("MNIST_DIR") else {
        return;
    };
    let cache = TempDir::new().unwrap();
    for pad in [0, 2, 5] {
        let data = open(&DataOptions {
            pad: Some(pad),
            ..options(DatasetKind::Mnist, &folder, cache.path())
        });
        let data = data.unwrap();
        assert_eq!(data.source.notes, Vec::<String>::new());
        assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
        let side = 28 + 2 * pad;
        assert_eq!((data.train.height(), data.train.width()), (side, side));
        assert_eq!(
            counts(data.train.labels(), 10),
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        );
        assert_eq!(
            counts(data.test.labels(), 10),
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        );
        assert_eq!(data.train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
        let (mean, std) = idx::statistics(&data.train);
        if pad == 0 {
            assert!((mean - 0.1307).abs() < 5e-5 && (std - 0.3081).abs() < 5e-5);
        }
        for channel in 0..3 {
            assert!(
                (f64::from(data.mean[channel]) - mean).abs() < 1e-7,
                "{mean}"
            );
            assert!((f64::from(data.std[channel]) - std).abs() < 1e-7, "{std}");
        }
    }
}

#[test]
fn the_real_data_set_is_whole_from_its_files_and_from_the_cache() {
    let Some(folder) = folder("CIFAR100_DIR") else {
        return;
    };
    let cache = TempDir::new().unwrap();
    let options = options(DatasetKind::Cifar100, &folder, cache.path());
    let first = open(&options).unwrap();
    check(&first);
    assert!(!first.source.from_cache);
    let second = open(&options).unwrap();
    assert!(second.source.from_cache);
    check(&second);
    for i in [0, 12_345, 49_999] {
        assert_eq!(
            first.train.image(i).unwrap(),
            second.train.image(i).unwrap()
        );
    }
}
