//! Normalisation with its activation, forward and backward, against Candle's layers.

use std::hint::black_box;
use std::time::Duration;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Statistics, batch_norm_act};
use criterion::{Criterion, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EPS: f64 = 1e-5;

fn normal(shape: impl Into<candle_core::Shape>) -> Result<Var> {
    Var::from_tensor(&Tensor::randn(0f32, 1.0, shape, &Device::Cpu)?)
}

/// The gradients of the sum: like a loss, it starts from a tensor of ones.
fn both(f: impl FnOnce() -> Result<Tensor>) -> Result<()> {
    let (loss, (), gradients) = value_and_grad(|| Ok((f()?, ())))?;
    black_box((loss, gradients));
    Ok(())
}

fn candle(x: &Tensor, norm: &candle_nn::BatchNorm, activation: Activation) -> Result<Tensor> {
    let y = norm.forward_train(x)?;
    match activation {
        Activation::Mish => candle_nn::ops::mish(&y),
        _ => y.relu(),
    }
}

fn compare(criterion: &mut Criterion, shape: (usize, usize, usize, usize)) -> Result<()> {
    let x = normal(shape)?;
    let residual = normal(shape)?;
    let gamma_beta = normal((2, shape.1))?;
    let mean = Tensor::zeros(shape.1, DType::F32, &Device::Cpu)?;
    let variance = Tensor::ones(shape.1, DType::F32, &Device::Cpu)?;
    let running = Statistics::Running {
        mean: &mean,
        variance: &variance,
    };
    let vars = candle_nn::VarMap::new();
    let vb = candle_nn::VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let norm = candle_nn::batch_norm(shape.1, candle_nn::BatchNormConfig::default(), vb)?;
    let name = format!("{}x{}x{}x{}", shape.0, shape.1, shape.2, shape.3);
    let mut group = criterion.benchmark_group(format!("norm_act/{name}"));
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let constant = x.as_detached_tensor();
    group.bench_function("copy", |b| b.iter(|| black_box(constant.copy())));
    for (name, activation) in [("relu", Activation::Relu), ("mish", Activation::Mish)] {
        let train = |residual: Option<&Tensor>| {
            let batch = Statistics::Batch;
            Ok(batch_norm_act(&x, &gamma_beta, residual, batch, EPS, &activation)?.0)
        };
        group.bench_function(format!("{name}/train"), |b| b.iter(|| both(|| train(None))));
        group.bench_function(format!("{name}/train with residual"), |b| {
            b.iter(|| both(|| train(Some(&residual))))
        });
        group.bench_function(format!("{name}/forward"), |b| {
            b.iter(|| black_box(train(None)))
        });
        group.bench_function(format!("{name}/eval"), |b| {
            let gamma_beta = gamma_beta.as_detached_tensor();
            b.iter(|| {
                let y = batch_norm_act(&constant, &gamma_beta, None, running, EPS, &activation);
                black_box(y)
            })
        });
        group.bench_function(format!("{name}/train in Candle"), |b| {
            b.iter(|| black_box(candle(&x, &norm, activation)?.backward()))
        });
    }
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    for shape in [(128, 64, 32, 32), (128, 16, 32, 32), (128, 64, 8, 8)] {
        if let Err(error) = compare(criterion, shape) {
            eprintln!("norm_act: {error}");
        }
    }
}

criterion_group!(norm_act, benches);
criterion_main!(norm_act);
