//! Epochs with mixing, erasing, alternating flips, repetitions and other sizes: the order of the
//! images, their bytes, and the same bits from any batch on.

use std::collections::{BTreeMap, HashMap};

use candle_mish::data::{
    Augmentation, Batch, EraseMode, FlipMode, ImageSet, Loader, LoaderConfig, Mixup, MixupMode,
    RandomErasing,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    sizes: Vec<SizeCase>,
    orders: Vec<OrderCase>,
}

#[derive(Deserialize)]
struct SizeCase {
    size: usize,
    grey: bool,
    crc32: u32,
}

#[derive(Deserialize)]
struct OrderCase {
    images: usize,
    repeats: usize,
    count: usize,
    first: Vec<u32>,
    last: Vec<u32>,
    sum: u32,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/mixing.json")).unwrap()
}

/// The image of the reference script, `[3, 32, 32]`.
fn pattern() -> Vec<u8> {
    let pixel = |c: usize, y: usize, x: usize| {
        let slope = (7 * x + 5 * y + 60 * c) / 4 % 256;
        let mixed = (x * 73_856_093) ^ (y * 19_349_663) ^ (c * 83_492_791);
        let edge = (x / 9 + y / 7) % 2 * 255;
        [slope, (mixed >> 7) & 255, edge][(x / 23 + y / 19) % 3] as u8
    };
    (0..3)
        .flat_map(|c| (0..32).flat_map(move |y| (0..32).map(move |x| pixel(c, y, x))))
        .collect()
}

/// Loads bytes as their own values.
fn bytes_config(batch_size: usize) -> LoaderConfig {
    LoaderConfig::in_order(batch_size, [0.0; 3], [1.0 / 255.0; 3])
}

fn batches(images: &ImageSet, config: LoaderConfig, epoch: u64, first: usize) -> Vec<Batch> {
    let epoch = Loader::new(images.clone(), config).epoch(epoch, first);
    epoch.map(Result::unwrap).collect()
}

fn values(batch: &Batch) -> Vec<f32> {
    batch.images.flatten_all().unwrap().to_vec1().unwrap()
}

fn labels(batches: &[Batch]) -> Vec<u32> {
    batches
        .iter()
        .flat_map(|batch| batch.labels.to_vec1::<u32>().unwrap())
        .collect()
}

/// `count` different images of 8 x 8 pixels, whose label is their number.
fn images(count: usize) -> ImageSet {
    let pixels = (0..count * 192).map(|i| (i * i / 7 + i) as u8).collect();
    ImageSet::new(pixels, 8, 8, (0..count as u32).collect(), None).unwrap()
}

/// The bytes of scaled images are Pillow's, in the epochs of their size. Evaluation has none.
#[test]
fn scaled_images_equal_those_of_pillow() {
    let set = ImageSet::new(pattern(), 32, 32, vec![0], None).unwrap();
    let cases = reference().sizes;
    assert_eq!(cases.len(), 18);
    for case in cases {
        let set = if case.grey { set.grey() } else { set.clone() };
        let config = LoaderConfig {
            train_img_sizes: Some(format!("0:7,3:{}", case.size).parse().unwrap()),
            ..bytes_config(1)
        };
        let made = batches(&set, config.clone(), 3, 0);
        let channels = set.channels();
        assert_eq!(made[0].images.dims(), [1, channels, case.size, case.size]);
        let bytes: Vec<u8> = values(&made[0]).iter().map(|v| v.round() as u8).collect();
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        assert_eq!(
            crc.sum(),
            case.crc32,
            "{} pixels, grey: {}",
            case.size,
            case.grey
        );
        assert_eq!(
            batches(&set, config, 2, 0)[0].images.dims(),
            [1, channels, 7, 7]
        );
    }
}

#[test]
fn repetitions_follow_timm() {
    let cases = reference().orders;
    assert_eq!(cases.len(), 15);
    for case in cases {
        let set = images(case.images);
        let config = LoaderConfig {
            aug_repeats: case.repeats,
            ..bytes_config(100)
        };
        let order = labels(&batches(&set, config.clone(), 0, 0));
        let what = format!("{} images, {} times", case.images, case.repeats);
        assert_eq!(order.len(), case.count, "{what}");
        let loader = Loader::new(set.clone(), config.clone());
        assert_eq!(loader.images_per_epoch(), case.count, "{what}");
        assert_eq!(order[..case.first.len()], case.first, "{what}");
        assert_eq!(order[order.len() - case.last.len()..], case.last, "{what}");
        assert_eq!(order.iter().sum::<u32>(), case.sum, "{what}");
        // A random order has each image as often in a row.
        let shuffled = labels(&batches(
            &set,
            LoaderConfig {
                shuffle: true,
                ..config
            },
            1,
            0,
        ));
        let whole = shuffled.chunks_exact(case.repeats);
        assert!(
            whole
                .clone()
                .all(|run| run.iter().all(|label| *label == run[0]))
        );
        let different: std::collections::HashSet<&[u32]> = whole.clone().collect();
        assert_eq!(different.len(), whole.count(), "{what}");
    }
    let once = |repeats| {
        let config = LoaderConfig {
            aug_repeats: repeats,
            ..bytes_config(7)
        };
        labels(&batches(&images(300), config, 0, 0))
    };
    assert_eq!(once(0), (0..300).collect::<Vec<_>>());
    assert_eq!(once(1), once(0));
}

/// Each image is mirrored in every other epoch, half of them in the first. The crop does not change.
#[test]
fn flips_alternate() {
    let set = images(400);
    let config = |flip_mode, crop_padding| LoaderConfig {
        augmentation: Augmentation {
            hflip: 0.5,
            flip_mode,
            crop_padding,
            ..Augmentation::none()
        },
        shuffle: true,
        seed: 3,
        ..bytes_config(400)
    };
    let mirrored = |epoch| -> BTreeMap<u32, bool> {
        let made = &batches(&set, config(FlipMode::Alternating, 0), epoch, 0)[0];
        let labels = made.labels.to_vec1::<u32>().unwrap();
        let images = values(made);
        let flipped = labels.iter().zip(images.chunks(192)).map(|(label, image)| {
            let bytes = set.image(*label as usize).unwrap();
            let upright = image
                .iter()
                .zip(&*bytes)
                .all(|(v, b)| v.round() == f32::from(*b));
            (*label, !upright)
        });
        flipped.collect()
    };
    let epochs: Vec<_> = (0..4).map(mirrored).collect();
    let first = epochs[0].values().filter(|flipped| **flipped).count();
    assert!((150..250).contains(&first), "{first} of 400");
    for label in 0..400 {
        let flips: Vec<bool> = epochs.iter().map(|epoch| epoch[&label]).collect();
        let alternating = [flips[0], !flips[0], flips[0], !flips[0]];
        assert_eq!(flips, alternating, "image {label}");
    }
    // The mode only decides the flip: the same crop is seen, mirrored or not.
    let [random, alternating] = [FlipMode::Random, FlipMode::Alternating]
        .map(|mode| values(&batches(&set, config(mode, 2), 0, 0)[0]));
    let mut equal = 0;
    for (one, other) in random.chunks(192).zip(alternating.chunks(192)) {
        let rows = one.chunks(8).zip(other.chunks(8));
        let mirrored = rows
            .clone()
            .all(|(one, other)| one.iter().eq(other.iter().rev()));
        let same = one == other;
        assert!(same || mirrored);
        equal += usize::from(same);
    }
    assert!((150..250).contains(&equal), "{equal}");
}

fn mixup(mode: MixupMode) -> Mixup {
    Mixup {
        mixup_alpha: 0.4,
        cutmix_alpha: 1.0,
        cutmix_minmax: None,
        prob: 0.9,
        switch_prob: 0.5,
        mode,
        off_epoch: Some(4),
        num_classes: 40,
    }
}

/// Everything random at once.
fn everything(mode: MixupMode) -> LoaderConfig {
    LoaderConfig {
        augmentation: Augmentation {
            crop_padding: 2,
            hflip: 0.5,
            flip_mode: FlipMode::Alternating,
            erasing: Some(RandomErasing {
                prob: 0.6,
                mode: EraseMode::Pixel,
                count: 2,
            }),
            cutout: 3,
            ..Augmentation::none()
        },
        mixup: Some(mixup(mode)),
        aug_repeats: 2,
        train_img_sizes: Some("0:5,2:8".parse().unwrap()),
        seed: 11,
        ..LoaderConfig::in_order(6, [0.4; 3], [0.2; 3]).shuffled()
    }
}

#[test]
fn an_epoch_entered_later_is_the_rest_of_it_with_everything_on() {
    let set = images(40);
    for mode in [MixupMode::Batch, MixupMode::Pair, MixupMode::Elem] {
        for epoch in [0, 3, 4] {
            let whole = batches(&set, everything(mode), epoch, 0);
            assert_eq!(whole.len(), 6);
            for first in [1, 3, 5] {
                let rest = batches(&set, everything(mode), epoch, first);
                assert_eq!(rest.len(), 6 - first);
                for (made, expected) in rest.iter().zip(&whole[first..]) {
                    let bits = |batch: &Batch| -> Vec<u32> {
                        values(batch).iter().map(|v| v.to_bits()).collect()
                    };
                    assert_eq!(bits(made), bits(expected));
                    assert_eq!(targets(made), targets(expected));
                }
            }
        }
    }
}

fn targets(batch: &Batch) -> Option<Vec<Vec<f32>>> {
    let targets = batch.targets.as_ref();
    targets.map(|targets| targets.to_vec2().unwrap())
}

/// A new random feature changes no draw of the others.
#[test]
fn switching_one_feature_on_leaves_the_others() {
    let set = images(40);
    let config = LoaderConfig {
        train_img_sizes: None,
        ..everything(MixupMode::Elem)
    };
    let without = |change: &dyn Fn(&mut LoaderConfig)| {
        let mut config = config.clone();
        change(&mut config);
        batches(&set, config, 1, 0)
    };
    let all = without(&|_| {});
    let mixed = |config: &mut LoaderConfig| config.mixup = None;
    let unmixed = without(&mixed);
    assert_eq!(labels(&all), labels(&unmixed));
    assert!(all[0].targets.is_some() && unmixed[0].targets.is_none());
    let unerased = without(&|config| {
        config.augmentation.erasing = None;
        config.augmentation.cutout = 0;
    });
    // The same labels are mixed in the same proportions.
    for (one, other) in all.iter().zip(&unerased) {
        assert_eq!(targets(one), targets(other));
    }
    let plain = without(&|config| {
        mixed(config);
        config.augmentation.erasing = None;
        config.augmentation.cutout = 0;
    });
    // Without mixing, erasing changes some pixels and leaves the others.
    let (mut changed, mut kept) = (0, 0);
    for (one, other) in unmixed.iter().zip(&plain) {
        for (one, other) in values(one).iter().zip(values(other)) {
            if *one == other {
                kept += 1;
            } else {
                changed += 1;
            }
        }
    }
    assert!(changed > 1000 && kept > 3000, "{changed} {kept}");
}

/// Soft labels say which images are in a mixed one, and mixing ends where it should.
#[test]
fn targets_are_the_labels_of_both_images() {
    let set = images(40);
    for mode in [MixupMode::Batch, MixupMode::Pair, MixupMode::Elem] {
        let config = LoaderConfig {
            aug_repeats: 0,
            ..everything(mode)
        };
        let mut mixed = 0;
        for batch in batches(&set, config.clone(), 3, 0) {
            let labels = batch.labels.to_vec1::<u32>().unwrap();
            let rows = targets(&batch).expect("mixed labels");
            assert_eq!(rows.len(), labels.len());
            for (place, row) in rows.iter().enumerate() {
                let own = labels[place] as usize;
                let other = labels[labels.len() - 1 - place] as usize;
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                for (class, share) in row.iter().enumerate() {
                    assert!(*share == 0.0 || class == own || class == other);
                }
                mixed += usize::from(row[own] < 1.0);
            }
        }
        assert!(mixed > 5, "{mode:?}: {mixed}");
        let after = batches(&set, config, 4, 0);
        assert!(after.iter().all(|batch| batch.targets.is_none()));
    }
}

/// Cutout is given in pixels of the full size.
#[test]
fn cutout_shrinks_with_the_image() {
    let pixels = vec![255; 3 * 32 * 32];
    let set = ImageSet::new(pixels, 32, 32, vec![0], None).unwrap();
    let largest = |sizes: &str| {
        let config = LoaderConfig {
            augmentation: Augmentation {
                cutout: 8,
                ..Augmentation::none()
            },
            train_img_sizes: Some(sizes.parse().unwrap()),
            ..bytes_config(1)
        };
        let zeros = (0..200).map(|epoch| {
            let made = &batches(&set, config.clone(), epoch, 0)[0];
            values(made).iter().filter(|value| **value == 0.0).count() / 3
        });
        zeros.max()
    };
    assert_eq!(largest("0:32"), Some(64));
    assert_eq!(largest("0:16"), Some(16));
}

/// Which image of a set an image of a batch is does not depend on the other features.
#[test]
fn repeated_images_are_augmented_differently() {
    let set = images(40);
    let config = LoaderConfig {
        mixup: None,
        train_img_sizes: None,
        ..everything(MixupMode::Batch)
    };
    let mut seen: HashMap<u32, Vec<Vec<f32>>> = HashMap::new();
    for batch in batches(&set, config, 0, 0) {
        let labels = batch.labels.to_vec1::<u32>().unwrap();
        for (label, image) in labels.iter().zip(values(&batch).chunks(192)) {
            seen.entry(*label).or_default().push(image.to_vec());
        }
    }
    assert_eq!(seen.len(), 18);
    for (label, images) in seen {
        assert_eq!(images.len(), 2, "image {label}");
        assert!(images[0] != images[1], "image {label}");
    }
}

/// Noise changes no draw of the crop, the flip, erasing and mixing: what it adds is noise alone. It is
/// new in each epoch and the same when an epoch is entered later.
#[test]
fn input_noise_leaves_the_other_changes() {
    let set = images(40);
    let mut config = LoaderConfig {
        mixup: None,
        train_img_sizes: None,
        ..everything(MixupMode::Batch)
    };
    config.augmentation.erasing = None;
    config.augmentation.cutout = 0;
    let plain = batches(&set, config.clone(), 2, 0);
    config.augmentation.input_noise = 0.5;
    let noisy = batches(&set, config.clone(), 2, 0);
    assert_eq!(labels(&noisy), labels(&plain));
    let all = |batches: &[Batch]| batches.iter().flat_map(values).collect::<Vec<f32>>();
    let (plain, noisy_values) = (all(&plain), all(&noisy));
    let added: Vec<f64> = noisy_values
        .iter()
        .zip(&plain)
        .map(|(a, b)| f64::from(a - b))
        .collect();
    let count = added.len() as f64;
    let mean = added.iter().sum::<f64>() / count;
    let deviation = (added.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    assert!(mean.abs() < 0.03, "mean {mean}");
    assert!((deviation - 0.5).abs() < 0.03, "deviation {deviation}");
    let later = batches(&set, config.clone(), 2, 4);
    assert_eq!(values(&later[0]), values(&noisy[4]));
    assert!(all(&batches(&set, config, 3, 0)) != noisy_values);
}
