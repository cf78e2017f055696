//! Normalisation against the definition in f64, PyTorch and finite differences.

use candle_core::{DType, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::ops::{Statistics, batch_norm_act, fold_batch_norm};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{
    array, assert_close, assert_values, check_gradients, device, every_device, gradients, made,
    real, strided,
};
use crate::support::{uniform, values};

test_all_devices! {
    gradients_of_every_fused_activation_are_those_of_its_derivative,
    statistics_are_those_of_the_batch,
    a_mean_far_from_zero_does_not_cancel,
    a_nan_is_in_the_statistics_of_its_channel_only,
    every_type_on_many_and_on_few_channels,
    values_gradients_and_statistics_are_those_of_pytorch,
    folding_into_the_convolution_changes_nothing,
    one_value_per_channel_is_refused_here_and_infinite_in_candle,
    what_does_not_fit_is_refused,
}

const EPS: f64 = 1e-5;

const ACTIVATIONS: [Activation; 14] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Mish,
    Activation::Silu,
    Activation::HardSwish,
    Activation::Gelu,
    Activation::Elu { alpha: 0.7 },
    Activation::Celu { alpha: 0.5 },
    Activation::Tanh,
    Activation::Softplus { beta: 1.5 },
    Activation::LogSigmoid,
    // It has no vector kernel, so it is a separate op.
    Activation::Softsign,
];

fn act(activation: &Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu { slope } => x.max(x * slope),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        other => other.value(x),
    }
}

/// The values of channel `c` of `x`, and their positions.
fn channel(x: &Tensor, c: usize) -> Vec<(usize, f64)> {
    let (channels, plane) = (x.dims()[1], x.dims()[2..].iter().product::<usize>());
    let values = values(x).into_iter().enumerate();
    values.filter(|(i, _)| i / plane % channels == c).collect()
}

/// Mean and variance of each channel, two-pass in f64.
fn moments(x: &Tensor) -> Vec<(f64, f64)> {
    let moments = |c: usize| {
        let values = channel(x, c);
        let n = values.len() as f64;
        let mean = values.iter().map(|(_, v)| v).sum::<f64>() / n;
        let squares = values.iter().map(|(_, v)| (v - mean).powi(2));
        (mean, squares.sum::<f64>() / n)
    };
    (0..x.dims()[1]).map(moments).collect()
}

fn oracle(
    x: &Tensor,
    gamma_beta: &Tensor,
    residual: Option<&Tensor>,
    moments: &[(f64, f64)],
    activation: &Activation,
) -> Tensor {
    let mut y = vec![0.0; x.elem_count()];
    let residual = residual.map(values);
    let parameters = values(gamma_beta);
    for (c, (mean, variance)) in moments.iter().enumerate() {
        for (i, v) in channel(x, c) {
            let normal = (v - mean) / (variance + EPS).sqrt();
            let z = normal * parameters[c] + parameters[moments.len() + c];
            y[i] = act(activation, z + residual.as_ref().map_or(0.0, |r| r[i]));
        }
    }
    made(y, x.dims())
}

fn train(x: &Tensor, gb: &Tensor, r: Option<&Tensor>, a: &Activation) -> Result<Tensor> {
    Ok(batch_norm_act(x, gb, r, Statistics::Batch, EPS, a)?.0)
}

prop_compose! {
    fn shape()(flat: bool, n in 1usize..5, c in 1usize..5, h in 1usize..7, w in 1usize..7)
        -> Vec<usize> {
        let n = if flat || h * w == 1 { n + 1 } else { n };
        if flat { vec![n, c] } else { vec![n, c, h, w] }
    }
}

proptest! {
    #[test]
    fn any_shape_in_training_and_frozen(
        shape in shape(), which in 0..ACTIVATIONS.len(), joined: bool, seed: u64,
    ) {
        every_device(|| {
            let activation = &ACTIVATIONS[which];
            let channels = shape[1];
            let x = uniform(seed, shape.clone());
            let gamma_beta = uniform(seed ^ 1, (2, channels));
            let residual = joined.then(|| uniform(seed ^ 2, shape.clone()));
            let residual = residual.as_ref();
            let moments = moments(&x);
            let expected = oracle(&x, &gamma_beta, residual, &moments, activation);
            let y = train(&x, &gamma_beta, residual, activation).unwrap();
            assert_close(&y, &expected, 1e-10);
            let views = (strided(&x), strided(&gamma_beta), residual.map(strided));
            let y = train(&views.0, &views.1, views.2.as_ref(), activation).unwrap();
            assert_close(&y, &expected, 1e-10);

            let given = |c: usize| (c as f64, 1.5 + c as f64);
            let given: Vec<(f64, f64)> = (0..channels).map(given).collect();
            let vector = |values: Vec<f64>| made(values, channels);
            let mean = vector(given.iter().map(|g| g.0).collect());
            let variance = vector(given.iter().map(|g| g.1).collect());
            let running = Statistics::Running { mean: &mean, variance: &variance };
            let frozen = |x: &Tensor, gb: &Tensor, r: Option<&Tensor>, a: &Activation| -> Result<_> {
                let (y, statistics) = batch_norm_act(x, gb, r, running, EPS, a)?;
                assert!(statistics.is_none());
                Ok(y)
            };
            let expected = oracle(&x, &gamma_beta, residual, &given, activation);
            assert_close(&frozen(&x, &gamma_beta, residual, activation).unwrap(), &expected, 1e-12);
            Ok(())
        })?;
    }

    #[test]
    fn gradients_of_smooth_activations_are_differences(
        shape in shape(), mish: bool, joined: bool, seed: u64,
    ) {
        every_device(|| {
            let activation = if mish { Activation::Mish } else { Activation::Identity };
            let channels = shape[1];
            // A few values may be too close together for finite differences.
            let x = uniform(seed, shape.clone());
            prop_assume!(moments(&x).iter().all(|(_, variance)| *variance > 0.05));
            let mut inputs = vec![x, uniform(seed ^ 1, (2, channels))];
            if joined {
                inputs.push(uniform(seed ^ 2, shape.clone()));
            }
            check_gradients(&inputs, |x| train(&x[0], &x[1], x.get(2), &activation));
            let mean = uniform(seed ^ 3, channels);
            let variance = uniform(seed ^ 4, channels).sqr().unwrap();
            let variance = (variance + 0.1).unwrap();
            check_gradients(&inputs, |x| {
                let device = x[0].device();
                let (mean, variance) = (mean.to_device(device)?, variance.to_device(device)?);
                let running = Statistics::Running { mean: &mean, variance: &variance };
                Ok(batch_norm_act(&x[0], &x[1], x.get(2), running, EPS, &activation)?.0)
            });
            Ok(())
        })?;
    }
}

fn gradients_of_every_fused_activation_are_those_of_its_derivative() {
    // Points chosen away from kinks, one channel each so that eight images of 5x5 are varied.
    let shape = (8, 3, 5, 5);
    let x = uniform(1, shape);
    let gamma_beta = array(&[[1.5f64, -2.0, 3.0], [0.3, -0.2, 1.1]]);
    let r = uniform(2, shape);
    let mean = array(&[0.1f64, 0.0, -0.2]);
    let variance = array(&[0.5f64, 1.0, 2.0]);
    for activation in ACTIVATIONS {
        let f = |x: &[Tensor]| {
            let device = x[0].device();
            let (mean, variance) = (mean.to_device(device)?, variance.to_device(device)?);
            let running = Statistics::Running {
                mean: &mean,
                variance: &variance,
            };
            Ok(batch_norm_act(&x[0], &x[1], x.get(2), running, EPS, &activation)?.0)
        };
        check_gradients(&[x.clone(), gamma_beta.clone(), r.clone()], f);
        check_gradients(&[x.clone(), gamma_beta.clone()], f);
    }
}

fn statistics_are_those_of_the_batch() {
    let x = uniform(3, (4, 3, 5, 7));
    let gamma_beta = uniform(4, (2, 3));
    let relu = Activation::Relu;
    let (_, statistics) =
        batch_norm_act(&x, &gamma_beta, None, Statistics::Batch, EPS, &relu).unwrap();
    let statistics = statistics.unwrap();
    let expected = moments(&x);
    let means: Vec<f64> = expected.iter().map(|m| m.0).collect();
    let unbiased: Vec<f64> = expected.iter().map(|m| m.1 * 140.0 / 139.0).collect();
    assert_values(&values(&statistics.mean), &means, 1e-13);
    assert_values(&values(&statistics.variance), &unbiased, 1e-13);
    assert_eq!(statistics.mean.dims(), [3]);
}

fn a_mean_far_from_zero_does_not_cancel() {
    let x = uniform(5, (16, 4, 8, 8));
    let gamma_beta = Tensor::new(&[[1.0f32; 4], [0.0; 4]], &device()).unwrap();
    // In one case the mean of the first image differs from the others.
    let step = (0..16).map(|image| if image > 0 { 1e3 } else { 0.0 });
    let step = made(step.collect(), (16, 1, 1, 1));
    let shifted = (&x + 1e4).unwrap();
    for x in [shifted.clone(), shifted.broadcast_add(&step).unwrap()] {
        let x = x.to_dtype(DType::F32).unwrap();
        let expected = moments(&x);
        let (y, statistics) = batch_norm_act(
            &x,
            &gamma_beta,
            None,
            Statistics::Batch,
            EPS,
            &Activation::Identity,
        )
        .unwrap();
        let statistics = statistics.unwrap();
        let means: Vec<f64> = expected.iter().map(|m| m.0).collect();
        let unbiased: Vec<f64> = expected.iter().map(|m| m.1 * 1024.0 / 1023.0).collect();
        assert_values(&values(&statistics.mean), &means, 1e-7);
        assert_values(&values(&statistics.variance), &unbiased, 2e-6);
        let exact = oracle(&x, &gamma_beta, None, &expected, &Activation::Identity);
        assert_close(&y, &exact, 3e-6);
    }
}

/// With the images on one thread, and divided among several.
fn a_nan_is_in_the_statistics_of_its_channel_only() {
    for images in [2, 40] {
        let shape = [images, 2, 32, 32];
        let mut x = values(&uniform(6, &shape));
        x[7] = f64::NAN;
        let gamma_beta = uniform(7, (2, 2));
        let identity = &Activation::Identity;
        let x = made(x, &shape);
        let (y, statistics) =
            batch_norm_act(&x, &gamma_beta, None, Statistics::Batch, EPS, identity).unwrap();
        let statistics = statistics.unwrap();
        for of_channels in [statistics.mean, statistics.variance] {
            let of_channels = values(&of_channels);
            assert!(of_channels[0].is_nan(), "{of_channels:?}");
            assert!(of_channels[1].is_finite(), "{of_channels:?}");
        }
        assert!(channel(&y, 0).iter().all(|(_, y)| y.is_nan()));
        assert!(channel(&y, 1).iter().all(|(_, y)| y.is_finite()));
    }
}

/// Larger than all thresholds for threads.
fn every_type_on_many_and_on_few_channels() {
    for shape in [
        (6, 40, 14, 15),
        (64, 1, 33, 31),
        (256, 2, 16, 16),
        (2000, 24, 1, 1),
    ] {
        let (x, r) = (uniform(6, shape), uniform(7, shape));
        let gamma_beta = uniform(8, (2, shape.1));
        for (dtype, tolerance) in [
            (real(), 1e-10),
            (DType::F32, 1e-5),
            (DType::F16, 2e-3),
            (DType::BF16, 2e-2),
        ] {
            let (x, r) = (x.to_dtype(dtype).unwrap(), r.to_dtype(dtype).unwrap());
            let y = train(&x, &gamma_beta, Some(&r), &Activation::Mish).unwrap();
            assert_eq!(y.dtype(), dtype);
            let expected = oracle(&x, &gamma_beta, Some(&r), &moments(&x), &Activation::Mish);
            assert_close(&y, &expected, tolerance);
        }
    }
}

/// The kernels sum in f64, the compositions do not.
#[test]
fn single_precision_gradients_are_those_of_double() {
    for shape in [(6, 40, 14, 15), (64, 1, 33, 31), (2000, 24, 1, 1)] {
        let inputs = [
            uniform(6, shape),
            uniform(8, (2, shape.1)),
            uniform(7, shape),
        ];
        let f = |x: &[Tensor]| {
            let y = train(&x[0], &x[1], x.get(2), &Activation::Mish)?;
            y.to_dtype(DType::F64)
        };
        let expected = gradients(&inputs, f);
        let single: Vec<Tensor> = inputs
            .iter()
            .map(|x| x.to_dtype(DType::F32).unwrap())
            .collect();
        for (single, double) in gradients(&single, f).iter().zip(&expected) {
            assert_eq!(single.dtype(), DType::F32);
            let scale = values(double).iter().fold(1.0f64, |m, v| m.max(v.abs()));
            let difference = (single.to_dtype(DType::F64).unwrap() - double).unwrap();
            let worst = values(&difference)
                .iter()
                .fold(0.0f64, |m, v| m.max(v.abs()));
            assert!(worst < 2e-6 * scale, "{worst} of {scale}");
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    for shape in [(32, 2, 31, 17), (16, 32, 16, 16)] {
        let inputs = [uniform(1, shape), uniform(2, (2, shape.1))];
        let run = || gradients(&inputs, |x| train(&x[0], &x[1], None, &Activation::Mish));
        let (first, second) = (run(), run());
        for (a, b) in first.iter().zip(&second) {
            assert_eq!(values(a), values(b));
        }
    }
}

#[derive(Deserialize)]
struct Case {
    activation: String,
    training: bool,
    shape: Vec<usize>,
    x: Vec<f64>,
    residual: Option<Vec<f64>>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    running_mean: Vec<f64>,
    running_var: Vec<f64>,
    momentum: f64,
    y: Vec<f64>,
    grad: Vec<f64>,
    dx: Vec<f64>,
    dresidual: Option<Vec<f64>>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
    mean_after: Vec<f64>,
    var_after: Vec<f64>,
}

fn values_gradients_and_statistics_are_those_of_pytorch() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../reference/norm_act.json")).unwrap();
    assert!(cases.len() >= 12);
    for case in cases {
        let tensor = |values: &[f64]| array(values);
        let full = |values: &[f64]| tensor(values).reshape(case.shape.as_slice()).unwrap();
        let activation = match case.activation.as_str() {
            "mish" => Activation::Mish,
            "relu" => Activation::Relu,
            _ => Activation::Identity,
        };
        let var = |x: Tensor| Var::from_tensor(&x).unwrap();
        let x = var(full(&case.x));
        let gamma_beta = Tensor::stack(&[tensor(&case.gamma), tensor(&case.beta)], 0).unwrap();
        let gamma_beta = var(gamma_beta);
        let residual = case.residual.as_deref().map(|r| var(full(r)));
        let (mean, variance) = (tensor(&case.running_mean), tensor(&case.running_var));
        let statistics = match case.training {
            true => Statistics::Batch,
            false => Statistics::Running {
                mean: &mean,
                variance: &variance,
            },
        };
        let residual = residual.as_ref().map(Var::as_tensor);
        let (y, batch) =
            batch_norm_act(&x, &gamma_beta, residual, statistics, EPS, &activation).unwrap();
        assert_values(&values(&y), &case.y, 1e-11);
        let grads = (y * full(&case.grad)).unwrap().backward().unwrap();
        assert_values(&values(grads.get(&x).unwrap()), &case.dx, 1e-10);
        let parameters = [case.dgamma, case.dbeta].concat();
        assert_values(&values(grads.get(&gamma_beta).unwrap()), &parameters, 1e-10);
        if let (Some(residual), Some(expected)) = (residual, case.dresidual) {
            assert_values(&values(grads.get(residual).unwrap()), &expected, 1e-10);
        }
        if let Some(batch) = batch {
            let moved = |old: &Tensor, new: &Tensor| {
                let kept = (old * (1.0 - case.momentum)).unwrap();
                values(&(kept + (new * case.momentum).unwrap()).unwrap())
            };
            assert_values(&moved(&mean, &batch.mean), &case.mean_after, 1e-12);
            assert_values(&moved(&variance, &batch.variance), &case.var_after, 1e-12);
        }
    }
}

fn folding_into_the_convolution_changes_nothing() {
    let x = uniform(1, (2, 3, 6, 6));
    let (weight, bias) = (uniform(2, (4, 3, 3, 3)), uniform(3, 4));
    let (gamma, beta, mean) = (uniform(4, 4), uniform(5, 4), uniform(6, 4));
    let variance = (uniform(7, 4).sqr().unwrap() + 0.1).unwrap();
    let gamma_beta = Tensor::stack(&[&gamma, &beta], 0).unwrap();
    let running = Statistics::Running {
        mean: &mean,
        variance: &variance,
    };
    let conv = |weight: &Tensor, bias: Option<&Tensor>| {
        let y = x.conv2d(weight, 1, 1, 1, 1).unwrap();
        bias.map_or(y.clone(), |b| {
            y.broadcast_add(&b.reshape((1, 4, 1, 1)).unwrap()).unwrap()
        })
    };
    for bias in [None, Some(&bias)] {
        let y = conv(&weight, bias);
        let identity = Activation::Identity;
        let (expected, _) = batch_norm_act(&y, &gamma_beta, None, running, EPS, &identity).unwrap();
        let folded =
            fold_batch_norm(&weight, bias, (&gamma, &beta), (&mean, &variance), EPS).unwrap();
        assert_close(&conv(&folded.0, Some(&folded.1)), &expected, 1e-12);
    }
    let short = uniform(1, 3);
    assert!(fold_batch_norm(&weight, None, (&short, &beta), (&mean, &variance), EPS).is_err());
}

fn one_value_per_channel_is_refused_here_and_infinite_in_candle() {
    let x = uniform(1, (1, 3, 1, 1));
    let gamma_beta = uniform(2, (2, 3));
    let error = train(&x, &gamma_beta, None, &Activation::Relu).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more than one value per channel"),
        "{error}"
    );

    let vars = candle_nn::VarMap::new();
    let vb = candle_nn::VarBuilder::from_varmap(&vars, real(), &device());
    let norm = candle_nn::batch_norm(3, candle_nn::BatchNormConfig::default(), vb).unwrap();
    norm.forward_train(&x).unwrap();
    let variance = values(norm.running_var());
    assert!(variance.iter().any(|v| !v.is_finite()), "{variance:?}");

    let mean = uniform(3, 3);
    let variance = Tensor::ones(3, real(), &device()).unwrap();
    let running = Statistics::Running {
        mean: &mean,
        variance: &variance,
    };
    let (y, _) = batch_norm_act(&x, &gamma_beta, None, running, EPS, &Activation::Relu).unwrap();
    assert_eq!(y.dims(), [1, 3, 1, 1]);
}

fn what_does_not_fit_is_refused() {
    let (x, gamma_beta) = (uniform(1, (2, 3, 4, 4)), uniform(2, (2, 3)));
    let relu = Activation::Relu;
    assert!(train(&x, &uniform(2, (2, 4)), None, &relu).is_err());
    assert!(train(&x, &gamma_beta, Some(&uniform(1, (2, 3, 4, 5))), &relu).is_err());
    assert!(train(&uniform(1, 4), &gamma_beta, None, &relu).is_err());
    let wrong = x.to_dtype(DType::BF16).unwrap();
    assert!(train(&x, &gamma_beta, Some(&wrong), &relu).is_err());
    assert!(train(&x.to_dtype(DType::U8).unwrap(), &gamma_beta, None, &relu).is_err());
    let none = Tensor::zeros((0, 3, 4, 4), real(), &device()).unwrap();
    let y = train(&none, &gamma_beta, None, &relu).unwrap();
    assert_eq!(y.dims(), none.dims());
    let running = Statistics::Running {
        mean: &uniform(1, 3),
        variance: &uniform(1, 3),
    };
    let (y, _) = batch_norm_act(&none, &gamma_beta, None, running, EPS, &relu).unwrap();
    assert_eq!(y.dims(), none.dims());
    let running = Statistics::Running {
        mean: &uniform(1, 3),
        variance: &uniform(1, 4),
    };
    assert!(batch_norm_act(&x, &gamma_beta, None, running, EPS, &relu).is_err());
}
