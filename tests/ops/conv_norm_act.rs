//! The fused op of evaluation against the separate ops: the same bits.

use candle_core::{DType, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{
    Conv2dParams, ConvKernel, Fp32Precision, MemoryFormat, PackedWeight, RunningNorm,
    RunningScales, Statistics, batch_norm_act, conv2d, conv2d_algorithms, conv2d_norm_act,
    conv2d_with,
};
use proptest::prelude::*;

use crate::support::{device, uniform, values};

test_all_devices! {
    equals_the_separate_ops_with_every_algorithm,
    equals_the_separate_ops_in_every_type,
    any_sizes,
    a_packed_weight_serves_all_sizes,
    keeps_the_graph,
    what_does_not_fit_is_refused,
}

/// x, weight, bias, gain and bias of the norm, mean, variance and residual.
struct Arguments {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma_beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    residual: Tensor,
}

impl Arguments {
    fn new(x: [usize; 4], weight: [usize; 4], params: &Conv2dParams, dtype: DType) -> Result<Self> {
        let make = |shape: &[usize], seed| uniform(seed, shape).to_dtype(dtype);
        let outputs = weight[0];
        let (x, weight) = (make(&x, 1)?, make(&weight, 2)?);
        let result = conv2d(&x, &weight, None, params)?;
        Ok(Self {
            residual: make(result.dims(), 7)?,
            bias: make(&[outputs], 3)?,
            gamma_beta: make(&[2, outputs], 4)?,
            mean: make(&[outputs], 5)?,
            variance: make(&[outputs], 6)?.abs()?,
            x,
            weight,
        })
    }

    /// The results of the fused op, of the separate ops, and of the fused op that fills its caches
    /// and uses them.
    fn all(
        &self,
        params: &Conv2dParams,
        (bias, residual): (bool, bool),
        activation: &Activation,
    ) -> Result<[Tensor; 4]> {
        let (x, weight) = (&self.x, &self.weight);
        let (mean, variance) = (&self.mean, &self.variance);
        let bias = bias.then_some(&self.bias);
        let residual = residual.then_some(&self.residual);
        let norm = RunningNorm {
            weight: &self.gamma_beta.get(0)?,
            bias: &self.gamma_beta.get(1)?,
            mean,
            variance,
            eps: 1e-5,
            scales: None,
        };
        let kernel = ConvKernel {
            weight,
            bias,
            params,
            precision: Fp32Precision::Ieee,
            packed: None,
            memory_format: MemoryFormat::Contiguous,
        };
        let fused = conv2d_norm_act(x, kernel, norm, residual, activation)?;
        let y = conv2d(x, weight, bias, params)?;
        let statistics = Statistics::Running { mean, variance };
        let (y, _) = batch_norm_act(&y, &self.gamma_beta, residual, statistics, 1e-5, activation)?;
        let (packed, scales) = (PackedWeight::default(), RunningScales::default());
        let kept = || {
            let kernel = ConvKernel {
                packed: Some(&packed),
                ..kernel
            };
            let norm = RunningNorm {
                scales: Some(&scales),
                ..norm
            };
            conv2d_norm_act(x, kernel, norm, residual, activation)
        };
        Ok([fused, y, kept()?, kept()?])
    }

    fn check(&self, params: &Conv2dParams, activation: &Activation) -> Result<()> {
        for options in [(false, false), (true, false), (false, true), (true, true)] {
            let [fused, others @ ..] = self.all(params, options, activation)?;
            for (i, other) in others.iter().enumerate() {
                assert_eq!(fused.shape(), other.shape());
                assert_eq!(fused.dtype(), other.dtype());
                assert_eq!(
                    values(&fused),
                    values(other),
                    "{i}: {:?}, {:?}, {params:?}, {activation:?}, bias and residual: {options:?}",
                    self.x.shape(),
                    self.weight.shape()
                );
            }
        }
        Ok(())
    }
}

fn padded(padding: usize, stride: usize, groups: usize) -> Conv2dParams {
    Conv2dParams {
        padding: (padding, padding),
        stride: (stride, stride),
        groups,
        ..Conv2dParams::default()
    }
}

fn equals_the_separate_ops_with_every_algorithm() -> Result<()> {
    let cases = [
        ([3, 24, 33, 34], [20, 24, 3, 3], padded(1, 1, 1)),
        ([3, 40, 8, 8], [72, 40, 3, 3], padded(1, 2, 1)),
        ([2, 3, 33, 31], [5, 3, 5, 5], padded(2, 1, 1)),
        ([2, 48, 7, 7], [33, 48, 1, 1], padded(0, 1, 1)),
        ([2, 19, 13, 11], [19, 1, 3, 3], padded(1, 1, 19)),
        ([2, 19, 14, 14], [19, 1, 3, 3], padded(1, 2, 19)),
        ([2, 44, 13, 11], [44, 1, 3, 3], padded(1, 1, 44)),
        ([2, 44, 14, 14], [44, 1, 5, 5], padded(2, 2, 44)),
        ([3, 64, 7, 7], [400, 64, 7, 7], padded(0, 1, 1)),
    ];
    let mut algorithms = std::collections::BTreeSet::new();
    for (x, weight, params) in cases {
        algorithms.insert(conv2d_algorithms(&x, &weight, &params, DType::F32)?[0]);
        let arguments = Arguments::new(x, weight, &params, DType::F32)?;
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Mish,
            Activation::Hardtanh {
                min: -0.5,
                max: 0.7,
            },
            // Without a vector kernel.
            Activation::Softsign,
        ] {
            arguments.check(&params, &activation)?;
        }
    }
    let all = [
        "channel lanes",
        "depthwise channel lanes",
        "depthwise pixel lanes",
        "pixel lanes",
        "whole image",
        "winograd 4x4",
    ];
    assert_eq!(Vec::from_iter(algorithms), all);
    Ok(())
}

fn equals_the_separate_ops_in_every_type() -> Result<()> {
    let params = padded(1, 1, 1);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        if dtype == DType::F64 && crate::support::real() != dtype {
            continue;
        }
        for x in [[0, 6, 5, 5], [1, 6, 5, 5], [3, 6, 9, 4]] {
            let arguments = Arguments::new(x, [7, 6, 3, 3], &params, dtype)?;
            arguments.check(&params, &Activation::Mish)?;
        }
    }
    Ok(())
}

fn any_sizes() -> Result<()> {
    let pair = |range: std::ops::Range<usize>| (range.clone(), range);
    proptest!(
        ProptestConfig::with_cases(48),
        |(n in 0usize..4, inputs in 1usize..20, outputs in 1usize..40, groups in 1usize..4,
          size in pair(1..16), kernel in pair(1..4), padding in pair(0..3), stride in pair(1..3))| {
            let params = Conv2dParams { padding, stride, groups, ..Conv2dParams::default() };
            let fits = size.0 + 2 * padding.0 >= kernel.0 && size.1 + 2 * padding.1 >= kernel.1;
            prop_assume!(fits);
            let x = [n, inputs * groups, size.0, size.1];
            let weight = [outputs * groups, inputs, kernel.0, kernel.1];
            let arguments = Arguments::new(x, weight, &params, DType::F32).unwrap();
            arguments.check(&params, &Activation::Mish).unwrap();
        }
    );
    Ok(())
}

/// Maps of different sizes take different algorithms and register tiles, with one packed weight.
fn a_packed_weight_serves_all_sizes() -> Result<()> {
    let mut algorithms = std::collections::BTreeSet::new();
    for (kernel, padding) in [(1, 0), (3, 1)] {
        let params = padded(padding, 1, 1);
        let weight = uniform(2, &[40, 24, kernel, kernel]);
        let bias = uniform(3, &[40]);
        let packed = PackedWeight::default();
        for (h, w) in [(40, 37), (3, 5), (8, 8), (40, 37), (1, 1)] {
            let x = uniform(1, &[2, 24, h, w]);
            let shapes = (x.dims(), weight.dims());
            algorithms.insert(conv2d_algorithms(shapes.0, shapes.1, &params, DType::F32)?[0]);
            for bias in [None, Some(&bias)] {
                let kernel = ConvKernel {
                    weight: &weight,
                    bias,
                    params: &params,
                    precision: Fp32Precision::Ieee,
                    packed: Some(&packed),
                    memory_format: MemoryFormat::Contiguous,
                };
                let want = values(&conv2d(&x, &weight, bias, &params)?);
                for _ in 0..2 {
                    assert_eq!(values(&conv2d_with(&x, kernel)?), want, "{h}x{w}");
                }
            }
        }
    }
    assert!(algorithms.len() > 2, "{algorithms:?}");
    Ok(())
}

/// With a tracked argument the result has gradients.
fn keeps_the_graph() -> Result<()> {
    let params = padded(1, 1, 1);
    let mut arguments = Arguments::new([2, 4, 6, 6], [8, 4, 3, 3], &params, DType::F32)?;
    let variable = Var::from_tensor(&arguments.weight)?;
    arguments.weight = variable.as_tensor().clone();
    let mut all = Vec::new();
    for index in 0..4 {
        let (_, (), mut gradients) = value_and_grad(|| {
            let results = arguments.all(&params, (true, true), &Activation::Mish)?;
            Ok((results[index].sum_all()?, ()))
        })?;
        all.push(values(&gradients.remove(&variable).expect("a gradient")));
    }
    assert!(all.iter().all(|gradient| *gradient == all[0]));
    Ok(())
}

fn what_does_not_fit_is_refused() -> Result<()> {
    let params = padded(1, 1, 1);
    let good = Arguments::new([2, 4, 6, 6], [8, 4, 3, 3], &params, DType::F32)?;
    let zeros =
        |shape: &[usize]| Tensor::zeros(shape, DType::F32, &device()).expect("a tensor of zeros");
    let refused = |change: &dyn Fn(&mut Arguments)| -> Result<String> {
        let mut arguments = Arguments::new([2, 4, 6, 6], [8, 4, 3, 3], &params, DType::F32)?;
        change(&mut arguments);
        let result = arguments.all(&params, (true, true), &Activation::Mish);
        Ok(result.expect_err("an argument does not fit").to_string())
    };
    good.check(&params, &Activation::Mish)?;
    refused(&|a| a.x = zeros(&[2, 5, 6, 6]))?;
    refused(&|a| a.bias = zeros(&[7]))?;
    refused(&|a| a.gamma_beta = zeros(&[2, 7]))?;
    refused(&|a| a.mean = zeros(&[7]))?;
    refused(&|a| a.variance = zeros(&[9]))?;
    let text = refused(&|a| a.residual = zeros(&[2, 8, 6, 5]))?;
    assert!(text.contains("residual"), "{text}");
    Ok(())
}
