//! Mish against Candle's composition, ReLU, SiLU and a copy, forward and backward, on tensors of
//! the size of a network's first stage: [128, 64, 32, 32] in f32.

use std::hint::black_box;

use candle_core::{Device, Result, Tensor, Var};
use candle_mish::mish;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

// The system's allocator returns large blocks to the system, and the page faults would dominate.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Function = fn(&Tensor) -> Result<Tensor>;

const FUNCTIONS: [(&str, Function); 4] = [
    ("mish", mish),
    ("candle_nn_mish", candle_nn::ops::mish),
    ("relu", Tensor::relu),
    ("silu", Tensor::silu),
];

fn benches(criterion: &mut Criterion) {
    let x = Tensor::randn(0f32, 1.0, (128, 64, 32, 32), &Device::Cpu).expect("memory");
    let bytes = 4 * x.elem_count() as u64;

    let mut group = criterion.benchmark_group("forward");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(2 * bytes));
    group.bench_function("copy", |b| b.iter(|| black_box(x.copy())));
    for (name, function) in FUNCTIONS {
        group.bench_function(name, |b| b.iter(|| black_box(function(&x))));
    }
    group.finish();

    let variable = Var::from_tensor(&x).expect("memory");
    let mut group = criterion.benchmark_group("forward_backward");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(5 * bytes));
    for (name, function) in FUNCTIONS {
        let step = || function(variable.as_tensor())?.backward();
        group.bench_function(name, |b| b.iter(|| black_box(step())));
    }
    group.finish();
}

criterion_group!(activation, benches);
criterion_main!(activation);
