//! The real CIFAR-100, if `CIFAR100_DIR` names its folder.

use std::path::PathBuf;

use candle_mish::data::{Dataset, DatasetKind, ImageSet, open};
use tempfile::TempDir;

use crate::fixture::options;

fn folder(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CIFAR100_DIR").filter(|value| !value.is_empty());
    if folder.is_none() {
        println!("{test}: skipped, CIFAR100_DIR is not set");
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

#[test]
fn the_real_data_set_is_whole_from_its_files_and_from_the_cache() {
    let Some(folder) = folder("real data") else {
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
