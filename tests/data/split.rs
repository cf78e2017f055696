//! Limits and the validation split.

use candle_mish::data::{DataOptions, Dataset, DatasetKind, open};
use proptest::prelude::*;

fn synthetic(limit: usize, val_split: f64, seed: u64) -> Dataset {
    open(&DataOptions {
        dataset: DatasetKind::Synthetic,
        seed,
        val_split,
        limit_train: Some(limit),
        limit_test: Some(20),
        ..DataOptions::default()
    })
    .unwrap()
}

fn counts(labels: &[u32]) -> Vec<usize> {
    let mut counts = vec![0; 100];
    labels.iter().for_each(|label| counts[*label as usize] += 1);
    counts
}

#[test]
fn the_split_is_stratified_and_complete() {
    let whole = synthetic(1000, 0.0, 3);
    assert!(whole.validation.is_none());
    let data = synthetic(1000, 0.2, 3);
    let validation = data.validation.unwrap();
    assert_eq!(
        (data.train.len(), validation.len(), data.test.len()),
        (800, 200, 20)
    );
    assert!(counts(validation.labels()).iter().all(|count| *count == 2));
    assert!(counts(data.train.labels()).iter().all(|count| *count == 8));
    // Together they have all images of the set, none twice.
    let all = |sets: &[&candle_mish::data::ImageSet]| {
        let mut images: Vec<Vec<u8>> = sets
            .iter()
            .flat_map(|set| (0..set.len()).map(|i| set.image(i).unwrap().to_vec()))
            .collect();
        images.sort();
        images
    };
    assert_eq!(all(&[&data.train, &validation]), all(&[&whole.train]));
}

#[test]
fn the_split_depends_on_its_seed_only() {
    let first = synthetic(500, 0.1, 1).validation.unwrap();
    let again = synthetic(500, 0.1, 1).validation.unwrap();
    assert_eq!(first.labels(), again.labels());
    assert_eq!(first.image(7).unwrap(), again.image(7).unwrap());
}

#[test]
fn options_that_leave_nothing_are_refused() {
    let refuse = |options: DataOptions, says: &str| {
        let options = DataOptions {
            dataset: DatasetKind::Synthetic,
            ..options
        };
        let message = open(&options).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    };
    for val_split in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        refuse(
            DataOptions {
                val_split,
                ..Default::default()
            },
            "val_split",
        );
    }
    let tiny = DataOptions {
        val_split: 0.01,
        limit_train: Some(3),
        ..Default::default()
    };
    refuse(
        tiny,
        "of 3 training images, 3 would remain for training and 0 for validation",
    );
    refuse(
        DataOptions {
            limit_train: Some(0),
            ..Default::default()
        },
        "limit_train = 0",
    );
    refuse(
        DataOptions {
            limit_test: Some(0),
            ..Default::default()
        },
        "limit_test = 0",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// For any fraction: the sizes add up, and no class is off by more than one image.
    #[test]
    fn any_fraction_is_kept_over_all_classes(
        limit in 150usize..600,
        val_split in 0.05f64..0.9,
        seed: u64,
    ) {
        let whole = counts(synthetic(limit, 0.0, seed).train.labels());
        let data = synthetic(limit, val_split, seed);
        let validation = data.validation.unwrap();
        prop_assert_eq!(validation.len(), (limit as f64 * val_split).round() as usize);
        prop_assert_eq!(data.train.len() + validation.len(), limit);
        for (held, all) in counts(validation.labels()).iter().zip(whole) {
            prop_assert!((*held as f64 - all as f64 * val_split).abs() <= 1.0);
        }
    }
}
