//! The linear layer and the loss at the end of a network, against Candle's.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{CrossEntropy, Target, cross_entropy, linear};
use criterion::{Criterion, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The gradients of the sum, which start from a tensor of ones.
fn both(f: impl FnOnce() -> Result<Tensor>) -> Result<()> {
    let (loss, (), gradients) = value_and_grad(|| Ok((f()?, ())))?;
    black_box((loss, gradients));
    Ok(())
}

fn compare(criterion: &mut Criterion) -> Result<()> {
    let normal = |shape: (usize, usize)| Tensor::randn(0f32, 1.0, shape, &Device::Cpu);
    let features = Var::from_tensor(&normal((128, 2048))?)?;
    let weight = Var::from_tensor(&normal((1000, 2048))?)?;
    let logits = Var::from_tensor(&normal((1024, 1000))?)?;
    let labels = Tensor::from_iter((0..1024u32).map(|i| i * 37 % 1000), &Device::Cpu)?;
    let target = Target::Classes(&labels);
    let options = CrossEntropy::default();
    let mut group = criterion.benchmark_group("classifier");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    group.bench_function("linear 128x2048 to 1000/both", |b| {
        b.iter(|| both(|| linear(&features, &weight, None)))
    });
    group.bench_function("linear 128x2048 to 1000/both in Candle", |b| {
        b.iter(|| black_box(features.matmul(&weight.t()?)?.backward()))
    });
    group.bench_function("cross_entropy 1024x1000/both", |b| {
        b.iter(|| both(|| cross_entropy(&logits, &target, &options)))
    });
    group.bench_function("cross_entropy 1024x1000/both in Candle", |b| {
        b.iter(|| black_box(candle_nn::loss::cross_entropy(&logits, &labels)?.backward()))
    });
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    if let Err(error) = compare(criterion) {
        eprintln!("classifier: {error}");
    }
}

criterion_group!(classifier, benches);
criterion_main!(classifier);
