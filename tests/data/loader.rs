//! Batches: their content, order, augmentation and the thread that makes them.

use candle_mish::data::{Augmentation, Batch, ImageSet, Loader, LoaderConfig, PadMode};
use proptest::prelude::*;

use crate::fixture::{byte, planar};

const MEAN: [f32; 3] = [0.5, 0.4, 0.3];
const STD: [f32; 3] = [0.25, 0.2, 0.3];

/// `count` images whose label is their number.
fn images(count: usize) -> ImageSet {
    let pixels = (0..count).flat_map(planar).collect();
    ImageSet::new(pixels, 32, 32, (0..count as u32).collect(), None).unwrap()
}

fn config(batch_size: usize) -> LoaderConfig {
    LoaderConfig {
        shuffle: true,
        augmentation: Augmentation::default(),
        seed: 7,
        ..LoaderConfig::in_order(batch_size, MEAN, STD)
    }
}

fn batches(loader: &Loader, epoch: u64, first: usize) -> Vec<Batch> {
    loader.epoch(epoch, first).map(Result::unwrap).collect()
}

fn pixels(batch: &Batch) -> Vec<f32> {
    batch.images.flatten_all().unwrap().to_vec1().unwrap()
}

fn labels(batches: &[Batch]) -> Vec<u32> {
    batches
        .iter()
        .flat_map(|batch| batch.labels.to_vec1::<u32>().unwrap())
        .collect()
}

fn normalised(byte: u8, channel: usize) -> f32 {
    (f32::from(byte) / 255.0 - MEAN[channel]) / STD[channel]
}

/// Pillow's luma, normalised with the averages over the channels.
#[test]
fn grey_images_have_one_channel() {
    let config = LoaderConfig {
        shuffle: false,
        augmentation: Augmentation::none(),
        ..config(4)
    };
    let colours = images(10).select(&[3, 5, 7]);
    let made = batches(&Loader::new(colours.grey(), config), 0, 0);
    assert_eq!(made[0].images.dims(), [3, 1, 32, 32]);
    let average = |values: [f32; 3]| values.iter().sum::<f32>() / 3.0;
    let values = pixels(&made[0]);
    for (i, image) in values.chunks(32 * 32).enumerate() {
        let bytes = colours.image(i).unwrap();
        for (place, value) in image.iter().enumerate() {
            let [r, g, b] = [0, 1, 2].map(|c| u32::from(bytes[c * 1024 + place]));
            let luma = (19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16;
            let want = (luma as f32 / 255.0 - average(MEAN)) / average(STD);
            assert_eq!(*value, want, "image {i}, place {place}");
        }
    }
}

#[test]
fn without_augmentation_pixels_are_normalised_only() {
    let config = LoaderConfig {
        shuffle: false,
        augmentation: Augmentation::none(),
        ..config(4)
    };
    let loader = Loader::new(images(10), config);
    let made = batches(&loader, 0, 0);
    assert_eq!(made.len(), 3);
    assert_eq!(loader.batches_per_epoch(), 3);
    assert_eq!(labels(&made), (0..10).collect::<Vec<_>>());
    assert_eq!(made[2].images.dims(), [2, 3, 32, 32]);
    assert_eq!(made[2].index, 2);
    let values = made[1].images.get(2).unwrap().to_vec3::<f32>().unwrap();
    for (channel, plane) in values.iter().enumerate() {
        for (row, line) in plane.iter().enumerate() {
            for (column, value) in line.iter().enumerate() {
                assert_eq!(*value, normalised(byte(6, channel, row, column), channel));
            }
        }
    }
}

/// Whether `value` shows the image shifted by (dy, dx) and maybe mirrored, padded by `mode`.
fn shows(
    values: &[Vec<Vec<f32>>],
    image: usize,
    (dy, dx, mirrored): (i32, i32, bool),
    mode: PadMode,
) -> bool {
    let at = |position: i32| -> Option<usize> {
        match mode {
            PadMode::Zero => (0..32).contains(&position).then_some(position as usize),
            PadMode::Edge => Some(position.clamp(0, 31) as usize),
            PadMode::Reflect => {
                let position = position.abs();
                Some(if position > 31 {
                    62 - position
                } else {
                    position
                } as usize)
            }
        }
    };
    (0..3).all(|channel| {
        (0..32).all(|row| {
            (0..32).all(|column| {
                let across = if mirrored { 31 - column } else { column };
                let source = at(row + dy).zip(at(across + dx));
                let byte = source.map_or(0, |(row, column)| byte(image, channel, row, column));
                values[channel][row as usize][column as usize] == normalised(byte, channel)
            })
        })
    })
}

#[test]
fn every_augmented_image_is_a_crop_of_its_source() {
    for mode in [PadMode::Reflect, PadMode::Zero, PadMode::Edge] {
        let augmentation = Augmentation {
            crop_padding: 2,
            pad_mode: mode,
            hflip: 0.5,
            ..Augmentation::none()
        };
        let config = LoaderConfig {
            augmentation,
            ..config(64)
        };
        let loader = Loader::new(images(200), config);
        let mut seen = std::collections::HashSet::new();
        for batch in batches(&loader, 3, 0) {
            let labels = batch.labels.to_vec1::<u32>().unwrap();
            for (i, label) in labels.iter().enumerate() {
                let values = batch.images.get(i).unwrap().to_vec3::<f32>().unwrap();
                let placement = (-2..=2)
                    .flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)))
                    .flat_map(|(dy, dx)| [(dy, dx, false), (dy, dx, true)])
                    .find(|&placement| shows(&values, *label as usize, placement, mode));
                seen.insert(placement.expect("a crop of the image of this label"));
            }
        }
        assert!(
            seen.len() > 40,
            "{} of 50 placements in 200 draws",
            seen.len()
        );
    }
}

#[test]
fn epochs_are_permutations_that_differ() {
    let loader = Loader::new(images(100), config(16));
    let orders: Vec<_> = (0..3)
        .map(|epoch| labels(&batches(&loader, epoch, 0)))
        .collect();
    for order in &orders {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
    assert_ne!(orders[0], orders[1]);
    assert_ne!(orders[1], orders[2]);
    let other = Loader::new(
        images(100),
        LoaderConfig {
            seed: 8,
            ..config(16)
        },
    );
    assert_ne!(labels(&batches(&other, 0, 0)), orders[0]);
}

#[test]
fn an_epoch_entered_later_is_the_rest_of_it() {
    let loader = Loader::new(images(50), config(8));
    let whole = batches(&loader, 5, 0);
    for first in 0..=whole.len() + 1 {
        let rest = batches(&Loader::new(images(50), config(8)), 5, first);
        assert_eq!(rest.len(), whole.len().saturating_sub(first));
        for (made, expected) in rest.iter().zip(&whole[first.min(whole.len())..]) {
            assert_eq!(made.index, expected.index);
            assert_eq!(pixels(made), pixels(expected));
            assert_eq!(
                made.labels.to_vec1::<u32>().unwrap(),
                expected.labels.to_vec1::<u32>().unwrap()
            );
        }
    }
}

#[test]
fn the_last_batch_may_be_dropped() {
    let loader = Loader::new(
        images(50),
        LoaderConfig {
            drop_last: true,
            ..config(8)
        },
    );
    let made = batches(&loader, 0, 0);
    assert_eq!((made.len(), loader.batches_per_epoch()), (6, 6));
    assert_eq!(loader.images_per_epoch(), 48);
    assert!(made.iter().all(|batch| batch.images.dims()[0] == 8));
}

/// A set that is smaller than a batch is one batch, also if incomplete batches are dropped.
#[test]
fn the_only_batch_is_not_dropped() {
    for (count, batch_size, sizes) in [
        (1, 8, vec![1]),
        (7, 8, vec![7]),
        (8, 8, vec![8]),
        (9, 8, vec![8]),
        (5, usize::MAX, vec![5]),
        (0, 8, vec![]),
    ] {
        let dropping = LoaderConfig {
            drop_last: true,
            ..config(batch_size)
        };
        let loader = Loader::new(images(count), dropping);
        let made = batches(&loader, 0, 0);
        let found: Vec<usize> = made.iter().map(|batch| batch.labels.dims()[0]).collect();
        assert_eq!(found, sizes, "{count} images in batches of {batch_size}");
        assert_eq!(loader.batches_per_epoch(), sizes.len());
        assert_eq!(loader.images_per_epoch(), sizes.iter().sum::<usize>());
    }
}

/// Grey images in memory have one channel, or three equal ones. Colour images keep theirs.
#[test]
fn stored_grey_images_have_one_channel_or_three_equal_ones() {
    let pixels: Vec<u8> = (0..2 * 6).map(|i| i * 20).collect();
    let set = ImageSet::new_grey(pixels.clone(), 2, 3, vec![4, 5]).unwrap();
    let set = set.select(&[1, 0]);
    assert_eq!((set.channels(), set.colour().channels()), (1, 3));
    assert_eq!(set.image(0).unwrap(), &pixels[6..]);
    assert_eq!(set.colour().image(1).unwrap(), pixels[..6].repeat(3));
    assert_eq!(set.colour().grey().image(1).unwrap(), &pixels[..6]);
    let in_order = |set: ImageSet| Loader::new(set, LoaderConfig::in_order(2, MEAN, STD));
    let made = batches(&in_order(set.clone()), 0, 0);
    assert_eq!(made[0].images.dims(), [2, 1, 2, 3]);
    let made = batches(&in_order(set.colour()), 0, 0);
    assert_eq!(made[0].images.dims(), [2, 3, 2, 3]);
    let values = self::pixels(&made[0]);
    for (channel, plane) in values[..18].chunks_exact(6).enumerate() {
        for (value, &byte) in plane.iter().zip(&pixels[6..]) {
            assert!((value - normalised(byte, channel)).abs() < 1e-5);
        }
    }
    let colours = images(2);
    assert_eq!(colours.grey().colour().image(1).unwrap(), planar(1));
    let wrong = ImageSet::new_grey(vec![0; 7], 2, 3, vec![0]).unwrap_err();
    assert!(wrong.to_string().contains("1 x 2 x 3 bytes"), "{wrong}");
}

#[test]
fn sets_without_images_and_batches_of_none_are_harmless() {
    let empty = Loader::new(images(0), config(8));
    assert_eq!(empty.batches_per_epoch(), 0);
    assert_eq!(empty.epoch(0, 0).count(), 0);
    let ones = Loader::new(images(3), config(0));
    assert_eq!(ones.epoch(0, 0).count(), 3);
}

/// The thread holds the images. After an unfinished epoch is dropped, nothing holds them.
#[test]
fn dropping_an_epoch_ends_its_thread() {
    let pixels: Vec<u8> = (0..64).flat_map(planar).collect();
    let set = ImageSet::new(pixels, 32, 32, vec![0; 64], None).unwrap();
    let loader = Loader::new(set, config(1));
    for taken in [0, 1, 10] {
        let mut epoch = loader.epoch(0, 0);
        for _ in 0..taken {
            epoch.next().unwrap().unwrap();
        }
        // Returns only after the thread has ended.
        drop(epoch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// For any size, padding and mode: the announced number of batches, every image once, all finite.
    #[test]
    fn any_configuration_yields_every_image_once(
        count in 0usize..40,
        (height, width) in (1usize..6, 1usize..6),
        batch_size in prop_oneof![1usize..9, any::<usize>()],
        crop_padding in prop_oneof![0usize..9, any::<usize>()],
        mode in 0usize..3,
        seed: u64,
    ) {
        let bytes = (0..count * 3 * height * width).map(|i| i as u8).collect();
        let set = ImageSet::new(bytes, height, width, (0..count as u32).collect(), None).unwrap();
        let augmentation = Augmentation {
            crop_padding,
            pad_mode: [PadMode::Reflect, PadMode::Zero, PadMode::Edge][mode],
            hflip: 0.5,
            ..Augmentation::none()
        };
        let loader = Loader::new(set, LoaderConfig { augmentation, seed, ..config(batch_size) });
        let made = batches(&loader, 1, 0);
        prop_assert_eq!(made.len(), loader.batches_per_epoch());
        let mut seen = labels(&made);
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count as u32).collect::<Vec<_>>());
        for batch in &made {
            prop_assert!(pixels(batch).iter().all(|value| value.is_finite()));
        }
    }
}
