//! Channels-last images in inference: the same values as contiguous ones, in another order.

use std::collections::BTreeSet;

use candle_core::{DType, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::ops::{
    AvgDivisor, Conv2dParams, ConvKernel, Fp32Precision, MemoryFormat, PackedWeight, Pool2dParams,
    RunningNorm, Statistics, adaptive_avg_pool2d, add_scaled, avg_pool2d, batch_norm_act, cat,
    channel_shuffle, conv2d, conv2d_channels_last_algorithm, conv2d_norm_act, conv2d_with,
    global_avg_pool2d, max_pool2d, mish, narrow, scale_channels,
};
use proptest::prelude::*;

use crate::support::{self, assert_close, assert_values, device, has_kernels, values};

test_all_devices! {
    convolutions_equal_contiguous_ones_with_every_algorithm,
    convolutions_of_any_sizes,
    other_types_stay_contiguous,
    tracked_arguments_have_gradients,
    ops_keep_the_order,
    pools_equal_contiguous_ones,
    norms_equal_contiguous_ones,
    other_ops_read_the_order,
    special_values_pass,
}

const FORMATS: [MemoryFormat; 2] = [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast];

/// The same images with their channels next to each other.
fn channels_last(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()?.permute((0, 3, 1, 2))
}

fn ordered(x: &Tensor, format: MemoryFormat) -> Result<Tensor> {
    match format {
        MemoryFormat::Contiguous => Ok(x.clone()),
        MemoryFormat::ChannelsLast => channels_last(x),
    }
}

/// Whether the channels of `x` are next to each other, and its pixels are not.
fn is_channels_last(x: &Tensor) -> Result<bool> {
    Ok(!x.is_contiguous() && x.permute((0, 2, 3, 1))?.is_contiguous())
}

/// Values in f32, the type that has channels-last kernels.
fn uniform(seed: u64, shape: &[usize]) -> Tensor {
    let x = support::uniform(seed, shape);
    x.to_dtype(DType::F32).expect("f32 on every device")
}

fn padded(padding: usize, stride: usize, groups: usize) -> Conv2dParams {
    Conv2dParams {
        padding: (padding, padding),
        stride: (stride, stride),
        groups,
        ..Conv2dParams::default()
    }
}

struct Case {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor,
    params: Conv2dParams,
}

impl Case {
    fn new(x: [usize; 4], weight: [usize; 4], params: Conv2dParams) -> Result<Self> {
        let (x, weight) = (uniform(1, &x), uniform(2, &weight));
        let residual = uniform(4, conv2d(&x, &weight, None, &params)?.dims());
        Ok(Self {
            bias: uniform(3, &[weight.dim(0)?]),
            x,
            weight,
            residual,
            params,
        })
    }

    /// The convolution, its norm and its activation with a residual in f64, which have no
    /// channels-last kernels.
    fn oracle(&self, with_bias: bool, activation: &Activation) -> Result<(Tensor, Tensor)> {
        let double = |x: &Tensor| x.to_dtype(support::real());
        let bias = with_bias.then(|| double(&self.bias)).transpose()?;
        let (x, weight) = (double(&self.x)?, double(&self.weight)?);
        let y = conv2d(&x, &weight, bias.as_ref(), &self.params)?;
        let parameters = self.parameters(y.dtype())?;
        let statistics = Statistics::Running {
            mean: &parameters[2],
            variance: &parameters[3],
        };
        let gamma_beta = Tensor::stack(&parameters[..2], 0)?;
        let residual = double(&self.residual)?;
        let (z, _) = batch_norm_act(
            &y,
            &gamma_beta,
            Some(&residual),
            statistics,
            1e-5,
            activation,
        )?;
        Ok((y, z))
    }

    /// Gain, bias, mean and variance of the norm.
    fn parameters(&self, dtype: DType) -> Result<[Tensor; 4]> {
        let channels = [self.weight.dim(0)?];
        let make = |seed| uniform(seed, &channels).to_dtype(dtype);
        Ok([make(5)?, make(6)?, make(7)?, (make(8)?.abs()? + 0.5)?])
    }

    fn check(&self, activation: &Activation) -> Result<()> {
        let packed = PackedWeight::default();
        for with_bias in [false, true] {
            let (y, z) = self.oracle(with_bias, activation)?;
            for from in FORMATS {
                for keep in [None, Some(&packed), Some(&packed)] {
                    self.compare(with_bias, from, keep, activation, (&y, &z))?;
                }
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        with_bias: bool,
        from: MemoryFormat,
        packed: Option<&PackedWeight>,
        activation: &Activation,
        (y, z): (&Tensor, &Tensor),
    ) -> Result<()> {
        let x = ordered(&self.x, from)?;
        let kernel = ConvKernel {
            weight: &self.weight,
            bias: with_bias.then_some(&self.bias),
            params: &self.params,
            precision: Fp32Precision::Ieee,
            packed,
            memory_format: MemoryFormat::ChannelsLast,
        };
        let [weight, bias, mean, variance] = &self.parameters(DType::F32)?;
        let norm = RunningNorm {
            weight,
            bias,
            mean,
            variance,
            eps: 1e-5,
            scales: None,
        };
        // Sums of up to this many products of values up to 1; F(4x4) rounds more than sums do.
        let terms = self.weight.elem_count() / self.weight.dim(0)?;
        let tolerance = 4e-7 * (terms as f64).max(16.0);
        let result = conv2d_with(&x, kernel)?;
        assert_values(&values(&result), &values(y), tolerance);
        for residual in FORMATS {
            let residual = ordered(&self.residual, residual)?;
            let result = conv2d_norm_act(&x, kernel, norm, Some(&residual), activation)?;
            assert_values(&values(&result), &values(z), 2.0 * tolerance);
        }
        Ok(())
    }

    /// The name of the algorithm, if the result is channels-last; checks that it is.
    fn algorithm(&self) -> Result<Option<&'static str>> {
        let (x, weight) = (self.x.dims(), self.weight.dims());
        let algorithm = conv2d_channels_last_algorithm(x, weight, &self.params)?;
        let kernel = ConvKernel {
            weight: &self.weight,
            bias: None,
            params: &self.params,
            precision: Fp32Precision::Ieee,
            packed: None,
            memory_format: MemoryFormat::ChannelsLast,
        };
        let y = conv2d_with(&self.x, kernel)?;
        let expected = has_kernels() && algorithm.is_some() && !y.is_contiguous();
        assert_eq!(is_channels_last(&y)?, expected);
        Ok(algorithm)
    }
}

fn convolutions_equal_contiguous_ones_with_every_algorithm() -> Result<()> {
    let cases = [
        ([3, 24, 33, 34], [20, 24, 3, 3], padded(1, 1, 1)),
        ([1, 160, 9, 10], [64, 160, 3, 3], padded(1, 1, 1)),
        ([3, 40, 8, 8], [72, 40, 3, 3], padded(1, 2, 1)),
        ([2, 3, 33, 31], [16, 3, 7, 7], padded(3, 2, 1)),
        ([2, 3, 33, 31], [5, 3, 5, 5], padded(2, 1, 1)),
        ([2, 300, 7, 7], [33, 300, 1, 1], padded(0, 1, 1)),
        ([1, 48, 28, 28], [130, 48, 1, 1], padded(0, 1, 1)),
        ([2, 48, 9, 9], [96, 48, 1, 1], padded(0, 2, 1)),
        ([2, 19, 13, 11], [19, 1, 3, 3], padded(1, 1, 19)),
        ([2, 16, 14, 14], [16, 1, 3, 3], padded(1, 2, 16)),
        ([2, 44, 13, 40], [44, 1, 3, 3], padded(1, 1, 44)),
        ([1, 96, 56, 56], [96, 1, 3, 3], padded(1, 2, 96)),
        ([2, 44, 14, 14], [44, 1, 5, 5], padded(2, 2, 44)),
        ([2, 32, 9, 9], [64, 8, 3, 3], padded(1, 1, 4)),
        ([2, 24, 1, 1], [32, 24, 1, 1], padded(0, 1, 1)),
    ];
    let mut algorithms = BTreeSet::new();
    for (x, weight, params) in cases {
        let case = Case::new(x, weight, params)?;
        algorithms.insert(case.algorithm()?);
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Mish,
            // Without a vector kernel.
            Activation::Softsign,
        ] {
            case.check(&activation)?;
        }
    }
    // Others depend on the vectors of the machine.
    for expected in [
        None,
        Some("channel lanes"),
        Some("depthwise channel lanes"),
        Some("winograd 4x4"),
    ] {
        assert!(
            algorithms.contains(&expected),
            "{expected:?} of {algorithms:?}"
        );
    }
    Ok(())
}

fn convolutions_of_any_sizes() -> Result<()> {
    let pair = |range: std::ops::Range<usize>| (range.clone(), range);
    proptest!(
        ProptestConfig::with_cases(48),
        |(n in 0usize..4, inputs in 1usize..40, outputs in 10usize..80, depthwise in any::<bool>(),
          size in pair(1..18), kernel in pair(1..4), padding in pair(0..3), stride in pair(1..3))| {
            let groups = if depthwise { inputs } else { 1 };
            let params = Conv2dParams { padding, stride, groups, ..Conv2dParams::default() };
            let fits = size.0 + 2 * padding.0 >= kernel.0 && size.1 + 2 * padding.1 >= kernel.1;
            prop_assume!(fits);
            let outputs = if depthwise { inputs } else { outputs };
            let x = [n, inputs, size.0, size.1];
            let weight = [outputs, inputs / groups, kernel.0, kernel.1];
            let case = Case::new(x, weight, params).unwrap();
            case.algorithm().unwrap();
            case.check(&Activation::Mish).unwrap();
        }
    );
    Ok(())
}

fn other_types_stay_contiguous() -> Result<()> {
    let params = padded(1, 1, 1);
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        if dtype == DType::F64 && support::real() != dtype {
            continue;
        }
        let x = uniform(1, &[2, 16, 5, 6]).to_dtype(dtype)?;
        let weight = uniform(2, &[32, 16, 3, 3]).to_dtype(dtype)?;
        let kernel = ConvKernel {
            weight: &weight,
            bias: None,
            params: &params,
            precision: Fp32Precision::Ieee,
            packed: None,
            memory_format: MemoryFormat::ChannelsLast,
        };
        let want = conv2d(&x, &weight, None, &params)?;
        for x in [x.clone(), channels_last(&x)?] {
            let y = conv2d_with(&x, kernel)?;
            assert!(y.is_contiguous());
            assert_eq!(values(&y), values(&want));
            let (y, want) = (mish(&x)?, mish(&x.contiguous()?)?);
            assert_eq!(values(&y), values(&want));
        }
    }
    Ok(())
}

fn tracked_arguments_have_gradients() -> Result<()> {
    let params = padded(1, 1, 1);
    let x = uniform(1, &[2, 16, 5, 6]);
    let weight = Var::from_tensor(&uniform(2, &[32, 16, 3, 3]))?;
    let gradient = |x: &Tensor, memory_format| -> Result<Vec<f64>> {
        let kernel = ConvKernel {
            weight: weight.as_tensor(),
            bias: None,
            params: &params,
            precision: Fp32Precision::Ieee,
            packed: None,
            memory_format,
        };
        let y = conv2d_with(x, kernel)?;
        assert!(y.is_contiguous());
        let gradients = mish(&y)?.sum_all()?.backward()?;
        Ok(values(gradients.get(&weight).expect("a gradient")))
    };
    let want = gradient(&x, MemoryFormat::Contiguous)?;
    assert_eq!(gradient(&x, MemoryFormat::ChannelsLast)?, want);
    let x = channels_last(&x)?;
    assert_eq!(gradient(&x, MemoryFormat::ChannelsLast)?, want);
    Ok(())
}

/// Equal values, and the channels of `y` next to each other.
fn assert_kept(y: &Tensor, want: &Tensor) -> Result<()> {
    assert_eq!(y.dims(), want.dims());
    assert_eq!(values(y), values(want));
    assert!(is_channels_last(y)? || !has_kernels());
    Ok(())
}

fn ops_keep_the_order() -> Result<()> {
    for shape in [[2, 6, 5, 7], [1, 40, 3, 2], [3, 16, 4, 4], [2, 130, 9, 8]] {
        let (a, b) = (uniform(1, &shape), uniform(2, &shape));
        let (a_last, b_last) = (channels_last(&a)?, channels_last(&b)?);
        assert_kept(&mish(&a_last)?, &mish(&a)?)?;
        assert_kept(
            &add_scaled(&a_last, &b_last, 0.3)?,
            &add_scaled(&a, &b, 0.3)?,
        )?;
        let all = [&a, &b, &a, &a];
        let all_last = [&a_last, &b_last, &a_last, &a_last];
        for count in 2..=4 {
            let want = cat(&all[..count], 1)?;
            assert_kept(&cat(&all_last[..count], 1)?, &want)?;
        }
        let half = shape[1] / 2;
        assert_kept(&narrow(&a_last, 1, 1, half)?, &narrow(&a, 1, 1, half)?)?;
        assert_kept(&channel_shuffle(&a_last, 2)?, &channel_shuffle(&a, 2)?)?;
        for factors in [vec![shape[0], shape[1]], vec![shape[0], shape[1], 1, 1]] {
            let s = uniform(3, &factors);
            assert_kept(&scale_channels(&a_last, &s)?, &scale_channels(&a, &s)?)?;
        }
    }
    Ok(())
}

fn pools_equal_contiguous_ones() -> Result<()> {
    let all = [
        Pool2dParams::new((2, 2)),
        Pool2dParams::new((3, 3))
            .with_stride((2, 2))
            .with_padding((1, 1)),
        Pool2dParams::new((3, 2))
            .with_stride((1, 2))
            .with_ceil_mode(true),
    ];
    for shape in [[2, 6, 8, 9], [1, 40, 5, 4], [3, 16, 4, 4], [2, 130, 7, 7]] {
        let x = uniform(1, &shape);
        let last = channels_last(&x)?;
        for params in &all {
            assert_kept(&max_pool2d(&last, params)?, &max_pool2d(&x, params)?)?;
            for divisor in [AvgDivisor::Window, AvgDivisor::Values] {
                let y = avg_pool2d(&last, params, divisor)?;
                assert_close(&y, &avg_pool2d(&x, params, divisor)?, 1e-6);
                assert!(is_channels_last(&y)? || !has_kernels());
            }
        }
        let dilated = Pool2dParams::new((2, 2)).with_dilation((2, 1));
        assert_kept(&max_pool2d(&last, &dilated)?, &max_pool2d(&x, &dilated)?)?;
        let y = adaptive_avg_pool2d(&last, (3, 2))?;
        assert_close(&y, &adaptive_avg_pool2d(&x, (3, 2))?, 1e-6);
        let y = adaptive_avg_pool2d(&last, (1, 1))?;
        assert_close(&y, &adaptive_avg_pool2d(&x, (1, 1))?, 1e-6);
        assert_close(&global_avg_pool2d(&last)?, &global_avg_pool2d(&x)?, 1e-6);
    }
    Ok(())
}

fn norms_equal_contiguous_ones() -> Result<()> {
    for shape in [
        [2, 6, 5, 7],
        [1, 40, 3, 2],
        [3, 16, 4, 4],
        [2, 130, 9, 8],
        [1, 256, 20, 20],
    ] {
        let (x, residual) = (uniform(1, &shape), uniform(2, &shape));
        let (x_last, residual_last) = (channels_last(&x)?, channels_last(&residual)?);
        let gamma_beta = uniform(3, &[2, shape[1]]);
        let mean = uniform(4, &[shape[1]]);
        let variance = uniform(5, &[shape[1]]).abs()?;
        for activation in [Activation::Identity, Activation::Mish, Activation::Softsign] {
            let norm = |x: &Tensor, residual: Option<&Tensor>| -> Result<Tensor> {
                let statistics = Statistics::Running {
                    mean: &mean,
                    variance: &variance,
                };
                let (y, _) =
                    batch_norm_act(x, &gamma_beta, residual, statistics, 1e-5, &activation)?;
                Ok(y)
            };
            assert_kept(&norm(&x_last, None)?, &norm(&x, None)?)?;
            let want = norm(&x, Some(&residual))?;
            assert_kept(&norm(&x_last, Some(&residual_last))?, &want)?;
            // In two orders the result has either.
            assert_eq!(values(&norm(&x_last, Some(&residual))?), values(&want));
            assert_eq!(values(&norm(&x, Some(&residual_last))?), values(&want));
        }
    }
    Ok(())
}

/// Ops without kernels for the order, and tensors in two orders.
fn other_ops_read_the_order() -> Result<()> {
    for shape in [
        [2, 6, 5, 7],
        [1, 40, 33, 20],
        [3, 17, 4, 4],
        [1, 64, 60, 70],
    ] {
        let (a, b) = (uniform(1, &shape), uniform(2, &shape));
        let last = channels_last(&a)?;
        let want = values(&cat(&[&a, &b], 1)?);
        assert_eq!(values(&cat(&[&last, &b], 1)?), want);
        let want = values(&add_scaled(&b, &a, 2.0)?);
        assert_eq!(values(&add_scaled(&b, &last, 2.0)?), want);
        let flat = candle_mish::ops::flatten_from(&last, 1)?;
        assert!(flat.is_contiguous());
        assert_eq!(values(&flat), values(&a));
        assert_eq!(
            values(&cat(&[&last, &last], 0)?),
            values(&cat(&[&a, &a], 0)?)
        );
    }
    Ok(())
}

fn special_values_pass() -> Result<()> {
    let mut numbers = values(&uniform(1, &[1, 20, 4, 4]));
    (numbers[7], numbers[100], numbers[200]) = (f64::NAN, f64::INFINITY, f64::NEG_INFINITY);
    let numbers: Vec<f32> = numbers.into_iter().map(|x| x as f32).collect();
    let x = Tensor::from_vec(numbers, (1, 20, 4, 4), &device())?;
    let last = channels_last(&x)?;
    let bits =
        |x: &Tensor| -> Vec<u64> { values(x).iter().map(|x| x.to_bits() << 1 >> 1).collect() };
    let pool = Pool2dParams::new((3, 3))
        .with_stride((1, 1))
        .with_padding((1, 1));
    assert_eq!(
        bits(&max_pool2d(&last, &pool)?),
        bits(&max_pool2d(&x, &pool)?)
    );
    assert_eq!(bits(&mish(&last)?), bits(&mish(&x)?));
    Ok(())
}
