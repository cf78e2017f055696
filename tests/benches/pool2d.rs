//! Pools, forward and backward, against Candle's pools.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{AvgDivisor, Pool2dParams, avg_pool2d, global_avg_pool2d, max_pool2d};
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
    let x = Var::from_tensor(&Tensor::randn(0f32, 1.0, (128, 64, 32, 32), &Device::Cpu)?)?;
    let constant = x.as_detached_tensor();
    let halves = Pool2dParams::new((2, 2));
    let stem = Pool2dParams::new((3, 3))
        .with_stride((2, 2))
        .with_padding((1, 1));
    let mut group = criterion.benchmark_group("pool2d/128x64x32x32");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    for (name, params) in [("2x2", halves), ("3x3 stride 2", stem)] {
        group.bench_function(format!("max {name}/forward"), |b| {
            b.iter(|| black_box(max_pool2d(&constant, &params)))
        });
        group.bench_function(format!("max {name}/both"), |b| {
            b.iter(|| both(|| max_pool2d(&x, &params)))
        });
        group.bench_function(format!("avg {name}/forward"), |b| {
            b.iter(|| black_box(avg_pool2d(&constant, &params, AvgDivisor::Window)))
        });
        group.bench_function(format!("avg {name}/both"), |b| {
            b.iter(|| both(|| avg_pool2d(&x, &params, AvgDivisor::Window)))
        });
    }
    group.bench_function("global/both", |b| b.iter(|| both(|| global_avg_pool2d(&x))));
    group.bench_function("max 2x2/both in Candle", |b| {
        b.iter(|| black_box(x.max_pool2d(2)?.backward()))
    });
    group.bench_function("avg 2x2/both in Candle", |b| {
        b.iter(|| black_box(x.avg_pool2d(2)?.backward()))
    });
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    if let Err(error) = compare(criterion) {
        eprintln!("pool2d: {error}");
    }
}

criterion_group!(pool2d, benches);
criterion_main!(pool2d);
