//! Pixel augmentations: each operation on an image of CIFAR's and of ImageNet's size, and whole
//! policies in the loader.

use std::hint::black_box;
use std::time::Duration;

use candle_mish::data::augment::{Op, Resampling, Sampling};
use candle_mish::data::{
    Augmentation, DataError, Image, ImageSet, Loader, LoaderConfig, PixelAugmentation,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn noise(count: usize) -> Vec<u8> {
    let bytes = (0..count).map(|i| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    bytes.collect()
}

fn operations() -> Vec<(&'static str, Op)> {
    let sampling = |resampling| Sampling {
        resampling,
        fill: [128; 3],
    };
    vec![
        (
            "rotate nearest",
            Op::Rotate(17.0, sampling(Resampling::Nearest)),
        ),
        (
            "rotate bilinear",
            Op::Rotate(17.0, sampling(Resampling::Bilinear)),
        ),
        (
            "rotate bicubic",
            Op::Rotate(17.0, sampling(Resampling::Bicubic)),
        ),
        ("equalize", Op::Equalize),
        ("brightness", Op::Brightness(1.3)),
        ("contrast", Op::Contrast(1.3)),
        ("color", Op::Color(1.3)),
        ("sharpness", Op::Sharpness(1.3)),
        ("hue", Op::Hue(0.1)),
        ("gaussian blur", Op::GaussianBlur(1.2)),
        ("kernel blur", Op::KernelBlur(1.2)),
    ]
}

fn measure(criterion: &mut Criterion) -> Result<(), DataError> {
    let mut group = criterion.benchmark_group("augment");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    for side in [32, 224] {
        let image = Image::new(noise(3 * side * side), side, side)?;
        for (name, op) in operations() {
            group.bench_function(format!("{name} {side}x{side}"), |b| {
                b.iter(|| {
                    let mut image = image.clone();
                    op.apply(&mut image);
                    black_box(image)
                });
            });
        }
    }
    let count = 2048;
    let labels = vec![0; count];
    let set = ImageSet::new(noise(count * 3 * 32 * 32), 32, 32, labels, None)?;
    group.throughput(Throughput::Elements(count as u64));
    for policy in [
        "none",
        "rand-m9-mstd0.5-inc1",
        "cifar10",
        "trivial",
        "augmix",
    ] {
        let augmentation = Augmentation {
            pixels: PixelAugmentation {
                auto_augment: policy.parse().ok(),
                ..PixelAugmentation::default()
            },
            ..Augmentation::default()
        };
        let config = LoaderConfig {
            augmentation,
            ..LoaderConfig::in_order(128, [0.5; 3], [0.25; 3]).shuffled()
        };
        let loader = Loader::new(set.clone(), config);
        group.bench_function(format!("loader {policy}"), |b| {
            b.iter(|| loader.epoch(0, 0).for_each(|batch| drop(black_box(batch))));
        });
    }
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    if let Err(error) = measure(criterion) {
        eprintln!("augment: {error}");
    }
}

criterion_group!(augment, benches);
criterion_main!(augment);
