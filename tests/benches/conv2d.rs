//! Convolutions of CIFAR networks: forward, and forward with each gradient, compared with Candle's
//! own. The cost model in `src/ops/conv2d/cost_model.rs` refers to this benchmark.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Conv2dParams, conv2d};
use criterion::{Criterion, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Name; images, input and output channels, height and width; kernel, stride, groups.
const CASES: [(&str, [usize; 4], [usize; 3]); 9] = [
    ("3x3_128x16x32", [128, 16, 16, 32], [3, 1, 1]),
    ("3x3_128x32x16", [128, 32, 32, 16], [3, 1, 1]),
    ("3x3_128x64x8", [128, 64, 64, 8], [3, 1, 1]),
    ("3x3_16x64x56", [16, 64, 64, 56], [3, 1, 1]),
    ("3x3s2_128x16to32x32", [128, 16, 32, 32], [3, 2, 1]),
    ("1x1_128x64x16", [128, 64, 64, 16], [1, 1, 1]),
    ("depthwise_128x64x16", [128, 64, 64, 16], [3, 1, 64]),
    ("groups4_128x64x16", [128, 64, 64, 16], [3, 1, 4]),
    ("3x3_1x64x56", [1, 64, 64, 56], [3, 1, 1]),
];

fn backward(x: &Tensor, w: &Tensor, params: &Conv2dParams) -> Result<()> {
    // The convolution is the last op, so the gradient of its output is ones.
    let (y, (), gradients) = value_and_grad(|| Ok((conv2d(x, w, None, params)?, ())))?;
    black_box((y, gradients));
    Ok(())
}

fn convolutions(criterion: &mut Criterion) -> Result<()> {
    let device = &Device::Cpu;
    for (name, [n, c_in, c_out, size], [kernel, stride, groups]) in CASES {
        let mut group = criterion.benchmark_group(format!("conv2d/{name}"));
        group
            .sample_size(20)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(500));
        let params = Conv2dParams {
            stride: (stride, stride),
            padding: (kernel / 2, kernel / 2),
            groups,
            ..Conv2dParams::default()
        };
        let x = Tensor::randn(0f32, 1.0, (n, c_in, size, size), device)?;
        let w = Tensor::randn(0f32, 0.1, (c_out, c_in / groups, kernel, kernel), device)?;
        let (vx, vw) = (Var::from_tensor(&x)?, Var::from_tensor(&w)?);
        group.bench_function("forward", |b| b.iter(|| conv2d(&x, &w, None, &params)));
        group.bench_function("forward + input gradient", |b| {
            b.iter(|| backward(&vx, &w, &params))
        });
        group.bench_function("forward + weight gradient", |b| {
            b.iter(|| backward(&x, &vw, &params))
        });
        group.bench_function("forward + backward", |b| {
            b.iter(|| backward(&vx, &vw, &params))
        });
        group.bench_function("candle forward", |b| {
            b.iter(|| x.conv2d(&w, kernel / 2, stride, 1, groups))
        });
        group.finish();
    }
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    if let Err(error) = convolutions(criterion) {
        eprintln!("{error}");
    }
}

criterion_group!(all, benches);
criterion_main!(all);
