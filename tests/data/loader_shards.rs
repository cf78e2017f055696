//! Batches that are divided among the ranks of a data parallel run.

use candle_core::Tensor;
use candle_mish::data::{
    Augmentation, Batch, EraseMode, ImageSet, Loader, LoaderConfig, Mixup, MixupMode, RandomErasing,
};

const IMAGES: usize = 47;

fn loader(batch_size: usize, mixup: Option<Mixup>) -> Loader {
    let pixels = (0..IMAGES * 3 * 64).map(|i| (i * i / 7) as u8).collect();
    let labels = (0..IMAGES as u32).collect();
    let images = ImageSet::new(pixels, 8, 8, labels, None).expect("images");
    let config = LoaderConfig {
        shuffle: true,
        augmentation: Augmentation {
            erasing: Some(RandomErasing {
                prob: 0.5,
                mode: EraseMode::Pixel,
                count: 2,
            }),
            input_noise: 0.1,
            ..Augmentation::default()
        },
        mixup,
        seed: 5,
        ..LoaderConfig::in_order(batch_size, [0.5; 3], [0.2; 3])
    };
    Loader::new(images, config)
}

fn mixup(mode: MixupMode) -> Mixup {
    Mixup {
        mixup_alpha: 0.4,
        cutmix_alpha: 1.0,
        cutmix_minmax: None,
        prob: 0.9,
        switch_prob: 0.5,
        mode,
        off_epoch: Some(1),
        num_classes: IMAGES,
    }
}

fn batches(loader: &Loader, epoch: u64) -> Vec<Batch> {
    let batches: Result<_, _> = loader.epoch(epoch, 0).collect();
    batches.expect("batches")
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
    values
        .expect("values")
        .iter()
        .map(|v| v.to_bits())
        .collect()
}

fn labels(batch: &Batch) -> Vec<u32> {
    batch.labels.to_vec1().expect("labels")
}

/// The parts of all ranks are the batches of one process, bit for bit.
fn compare(mixup: Option<Mixup>, ranks: usize, epoch: u64) {
    let loader = loader(12, mixup);
    let shards = (0..ranks).map(|rank| batches(&loader.shard(rank, ranks), epoch));
    let shards: Vec<_> = shards.collect();
    let whole = batches(&loader, epoch);
    assert_eq!(whole.len(), 4);
    for (index, whole) in whole.iter().enumerate() {
        let parts: Vec<&Batch> = shards.iter().map(|batches| &batches[index]).collect();
        let joined = |of: &dyn Fn(&Batch) -> Vec<u32>| -> Vec<u32> {
            parts.iter().flat_map(|part| of(part)).collect()
        };
        assert_eq!(joined(&labels), labels(whole));
        assert_eq!(joined(&|batch| bits(&batch.images)), bits(&whole.images));
        let targets = |batch: &Batch| batch.targets.as_ref().map(bits).unwrap_or_default();
        assert_eq!(joined(&targets), targets(whole));
        assert!(parts.iter().all(|part| part.index == index));
    }
    for shard in &shards {
        assert_eq!(shard.len(), 4);
    }
}

#[test]
fn the_parts_of_all_ranks_are_the_batches_of_one() {
    for ranks in [1, 2, 3, 5, 13] {
        compare(None, ranks, 3);
    }
}

#[test]
fn mixed_batches_are_divided_after_the_mix() {
    for mode in [MixupMode::Batch, MixupMode::Pair, MixupMode::Elem] {
        compare(Some(mixup(mode)), 3, 0);
        // Mixup is off.
        compare(Some(mixup(mode)), 3, 1);
    }
}

#[test]
fn each_image_occurs_once_in_an_epoch_over_all_ranks() {
    let loader = loader(12, None);
    let all = (0..5).flat_map(|rank| batches(&loader.shard(rank, 5), 0));
    let mut seen: Vec<u32> = all.flat_map(|batch| labels(&batch)).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..IMAGES as u32).collect::<Vec<_>>());
}

#[test]
fn an_indivisible_batch_is_found() {
    // Batches of 12 and a last one of 11 images.
    let uneven = loader(12, None);
    assert_eq!(uneven.indivisible_batch(1), None);
    assert_eq!(uneven.indivisible_batch(4), Some(11));
    assert_eq!(uneven.indivisible_batch(5), Some(12));
    // One batch of all images.
    assert_eq!(loader(100, None).indivisible_batch(47), None);
    assert_eq!(loader(100, None).indivisible_batch(2), Some(47));
    let dropping = LoaderConfig::in_order(12, [0.5; 3], [0.2; 3]).shuffled();
    let dropping = Loader::new(uneven.images().clone(), dropping);
    assert_eq!(dropping.indivisible_batch(4), None);
}
