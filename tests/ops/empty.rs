//! Every op on tensors with an empty axis: shapes, values and gradients as in PyTorch, or an error
//! where PyTorch has one.

use candle_core::{DType, Device, Module, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::activation::{
    activation, activation_gradient, activation_inplace, leaky_relu_with, prelu, srelu,
};
use candle_mish::ops::capsule::{dynamic_routing, length, squash};
use candle_mish::ops::{
    AvgDivisor, CrossEntropy, DropPathScale, Margin, Pool2dParams, Reduction, Statistics, Target,
    adaptive_avg_pool2d, add, add_scaled, avg_pool2d, batch_norm_act, cat, channel_shuffle,
    cross_entropy, drop_path, dropout, flatten_from, fold_batch_norm, global_avg_pool2d,
    group_norm, layer_norm, linear, margin_loss, max_pool2d, narrow, pad, permute, reshape, scale,
    scale_channels, scale_channels_add_act, squared_error, stack,
};

use crate::support::{device, values};

test_devices! {
    activations,
    parametric_activations,
    sums_and_views,
    dropout_and_shuffle,
    norms,
    pools,
    huge_axes_of_an_empty_batch,
    a_linear_layer,
    losses,
    capsules,
    what_pytorch_refuses_is_refused,
}

const TYPES: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

/// `x` for `[N, C, H, W]` with each axis empty in turn, and with all of them.
fn images() -> Vec<Vec<usize>> {
    let mut shapes: Vec<Vec<usize>> = (0..4)
        .map(|axis| {
            let mut shape = vec![2, 4, 3, 5];
            shape[axis] = 0;
            shape
        })
        .collect();
    shapes.push(vec![0; 4]);
    shapes
}

/// Applies `op` in every type to ones of these shapes. The result must have the shape `result` and
/// the value `value` everywhere, and each input a gradient of its own shape that has the value in
/// `gradients` everywhere.
#[track_caller]
fn check_all(
    name: &str,
    shapes: &[&[usize]],
    op: impl Fn(&[Tensor]) -> Result<Tensor>,
    (result, value): (&[usize], f64),
    gradients: &[f64],
) {
    for dtype in TYPES {
        let what = format!("{name} of {shapes:?} in {dtype:?}");
        let one = |shape: &&[usize]| Tensor::ones(*shape, dtype, &device()).unwrap();
        let constants: Vec<Tensor> = shapes.iter().map(one).collect();
        let y = op(&constants).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((y.dims(), y.dtype()), (result, dtype), "{what}");
        let close = |found: f64, expected: f64| {
            (found.is_nan() && expected.is_nan()) || (found - expected).abs() < 1e-2
        };
        assert!(values(&y).iter().all(|y| close(*y, value)), "{what}: {y}");
        let variables: Vec<Var> = constants
            .iter()
            .map(|x| Var::from_tensor(x).unwrap())
            .collect();
        let inputs: Vec<Tensor> = variables.iter().map(|x| x.as_tensor().clone()).collect();
        let (_, (), found) = value_and_grad(|| Ok((op(&inputs)?, ())))
            .unwrap_or_else(|error| panic!("gradient of {what}: {error}"));
        for (i, (input, expected)) in inputs.iter().zip(gradients).enumerate() {
            let Some(gradient) = found.get(input) else {
                panic!("{what}: input {i} has no gradient");
            };
            assert_eq!(gradient.dims(), input.dims(), "{what}, input {i}");
            assert_eq!(gradient.dtype(), dtype, "{what}, input {i}");
            let gradient = values(gradient);
            let right = gradient.iter().all(|g| close(*g, *expected));
            assert!(right, "{what}: the gradient of input {i} is {gradient:?}");
        }
    }
}

/// [`check_all`] of an op with an empty result, whose gradients are all zero.
#[track_caller]
fn check(
    name: &str,
    shapes: &[&[usize]],
    op: impl Fn(&[Tensor]) -> Result<Tensor>,
    result: &[usize],
) {
    check_all(name, shapes, op, (result, 0.0), &vec![0.0; shapes.len()]);
}

fn activations() -> Result<()> {
    for function in Activation::all() {
        let name = function.name();
        for shape in images().iter().chain([&vec![0], &vec![3, 0]]) {
            check(name, &[shape], |x| activation(&x[0], &function), shape);
            check(name, &[shape], |x| function.forward(&x[0]), shape);
            for dtype in TYPES {
                let x = Tensor::zeros(shape.as_slice(), dtype, &device())?;
                activation_inplace(&x, &function)?;
                let gradient = activation_gradient(&x, &x, &function)?;
                assert_eq!((gradient.dims(), gradient.dtype()), (x.dims(), dtype));
            }
        }
    }
    // An empty view may start after the end of its storage.
    let x = Tensor::ones((2, 3, 4), DType::F32, &device())?;
    let nothing = x.narrow(0, 2, 0)?.narrow(1, 3, 0)?;
    assert_eq!(activation(&nothing, &Activation::Mish)?.dims(), [0, 0, 4]);
    activation_inplace(&nothing, &Activation::Mish)?;
    assert_eq!(scale(&nothing, 2.0)?.dims(), [0, 0, 4]);
    let nothing = nothing.to_dtype(DType::BF16)?.transpose(0, 2)?;
    assert_eq!(activation(&nothing, &Activation::Mish)?.dims(), [4, 0, 0]);
    Ok(())
}

fn parametric_activations() {
    for shape in images() {
        let channels = shape[1];
        for slopes in [channels, 1] {
            let p = [shape.as_slice(), &[slopes]];
            check("prelu", &p, |x| prelu(&x[0], &x[1]), &shape);
            let p = [shape.as_slice(), &[4, slopes]];
            check("srelu", &p, |x| srelu(&x[0], &x[1]), &shape);
        }
        let slopes = [shape.as_slice(), &shape];
        check(
            "leaky_relu_with",
            &slopes,
            |x| leaky_relu_with(&x[0], &x[1]),
            &shape,
        );
    }
}

fn sums_and_views() {
    for shape in images() {
        let one = [shape.as_slice()];
        let two = [shape.as_slice(), &shape];
        check("add", &two, |x| add(&x[0], &x[1]), &shape);
        check(
            "add_scaled",
            &two,
            |x| add_scaled(&x[0], &x[1], 0.5),
            &shape,
        );
        check("scale", &one, |x| scale(&x[0], 3.0), &shape);
        let factors = [shape.as_slice(), &shape[..2]];
        check(
            "scale_channels",
            &factors,
            |x| scale_channels(&x[0], &x[1]),
            &shape,
        );
        let joined = [shape.as_slice(), &shape[..2], &shape];
        for act in [Activation::Mish, Activation::Sqnl] {
            check(
                "scale_channels_add_act",
                &joined,
                |x| scale_channels_add_act(&x[0], &x[1], &x[2], &act),
                &shape,
            );
        }
        let order = [0, 2, 3, 1].map(|axis| shape[axis]);
        check("permute", &one, |x| permute(&x[0], &[0, 2, 3, 1]), &order);
        let flat = [shape[0], shape[1] * shape[2] * shape[3]];
        let mut padded = shape.clone();
        padded[1] += 3;
        check("pad", &one, |x| pad(&x[0], 1, 1, 2), &padded);
        check("flatten_from", &one, |x| flatten_from(&x[0], 1), &flat);
        check("reshape", &one, |x| reshape(&x[0], (7, 0)), &[7, 0]);
        for count in [2, 3, 5] {
            let parts = vec![shape.as_slice(); count];
            let stacked = [&[count], shape.as_slice()].concat();
            let stack = |x: &[Tensor]| stack(&x.iter().collect::<Vec<_>>());
            check("stack", &parts, stack, &stacked);
            for dim in 0..4 {
                let mut joined = shape.clone();
                joined[dim] *= count;
                let cat = |x: &[Tensor]| cat(&x.iter().collect::<Vec<_>>(), dim);
                check("cat", &parts, cat, &joined);
            }
        }
    }
    for dim in 0..4 {
        let full = [2, 4, 3, 5];
        let mut empty = full;
        empty[dim] = 0;
        for start in [0, full[dim]] {
            check("narrow", &[&full], |x| narrow(&x[0], dim, start, 0), &empty);
        }
        // An empty part does not change the other.
        let parts: [&[usize]; 2] = [&full, &empty];
        let cat = |x: &[Tensor]| cat(&[&x[0], &x[1]], dim);
        check_all("cat", &parts, cat, (&full, 1.0), &[1.0, 0.0]);
    }
}

fn dropout_and_shuffle() {
    for shape in images() {
        let one = [shape.as_slice()];
        check("dropout", &one, |x| dropout(&x[0], 0.5, 3), &shape);
        for scale in [DropPathScale::KeepMean, DropPathScale::Unchanged] {
            check(
                "drop_path",
                &one,
                |x| drop_path(&x[0], 0.5, scale, 3),
                &shape,
            );
        }
        check(
            "channel_shuffle",
            &one,
            |x| channel_shuffle(&x[0], 2),
            &shape,
        );
    }
}

fn norms() -> Result<()> {
    for shape in images().iter().chain([&vec![0, 4], &vec![3, 0]]) {
        let channels = shape[1];
        let pair: &[usize] = &[2, channels];
        for function in [Activation::Identity, Activation::Mish, Activation::Sqnl] {
            for with_residual in [false, true] {
                let mut shapes = vec![shape.as_slice(), pair];
                if with_residual {
                    shapes.push(shape);
                }
                let trained = |x: &[Tensor]| {
                    let batch = Statistics::Batch;
                    let (y, _) = batch_norm_act(&x[0], &x[1], x.get(2), batch, 1e-5, &function)?;
                    Ok(y)
                };
                check("batch_norm_act in training", &shapes, trained, shape);
                let evaluated = |x: &[Tensor]| {
                    let mean = Tensor::zeros(channels, x[0].dtype(), &device())?;
                    let variance = mean.ones_like()?;
                    let running = Statistics::Running {
                        mean: &mean,
                        variance: &variance,
                    };
                    let (y, none) =
                        batch_norm_act(&x[0], &x[1], x.get(2), running, 1e-5, &function)?;
                    assert!(none.is_none());
                    Ok(y)
                };
                check("batch_norm_act", &shapes, evaluated, shape);
            }
        }
        let affine: &[usize] = &[channels];
        let shapes = [shape.as_slice(), affine, affine];
        for groups in [1, 2, 4] {
            let norm = |x: &[Tensor]| group_norm(&x[0], groups, Some(&x[1]), Some(&x[2]), 1e-5);
            check("group_norm", &shapes, norm, shape);
        }
        let last = &shape[shape.len() - 1..];
        let norm = |x: &[Tensor]| layer_norm(&x[0], last, Some(&x[1]), Some(&x[2]), 1e-5);
        check("layer_norm", &[shape, last, last], norm, shape);
        check(
            "layer_norm",
            &[shape],
            |x| layer_norm(&x[0], &shape[1..], None, None, 1e-5),
            shape,
        );
    }
    // A batch without values has no statistics, and running statistics do not change.
    let x = Tensor::zeros((0, 4, 3, 3), DType::F32, &device())?;
    let pair = Tensor::ones((2, 4), DType::F32, &device())?;
    let (_, none) = batch_norm_act(&x, &pair, None, Statistics::Batch, 1e-5, &Activation::Relu)?;
    assert!(none.is_none());
    for shape in [[0, 4, 3, 3], [4, 0, 3, 3], [4, 4, 0, 3]] {
        for dtype in TYPES {
            let weight = Tensor::ones(&shape, dtype, &device())?;
            let one = Tensor::ones(shape[0], dtype, &device())?;
            let (folded, bias) = fold_batch_norm(&weight, None, (&one, &one), (&one, &one), 1e-5)?;
            assert_eq!((folded.dims(), bias.dims()), (weight.dims(), one.dims()));
            assert_eq!((folded.dtype(), bias.dtype()), (dtype, dtype));
        }
    }
    Ok(())
}

fn pools() {
    let plain = Pool2dParams::new((2, 2));
    let padded = Pool2dParams::new((3, 3))
        .with_padding((1, 1))
        .with_ceil_mode(true);
    for params in [plain, plain.with_stride((1, 3)), padded] {
        let (rows, columns) = params.output_size((6, 5)).unwrap();
        let result = [0, 3, rows, columns];
        let none: [&[usize]; 1] = [&[0, 3, 6, 5]];
        check("max_pool2d", &none, |x| max_pool2d(&x[0], &params), &result);
        for divisor in [AvgDivisor::Window, AvgDivisor::Values] {
            check(
                "avg_pool2d",
                &none,
                |x| avg_pool2d(&x[0], &params, divisor),
                &result,
            );
        }
    }
    for (shape, rest) in [([0, 3, 6, 5], [0, 3]), ([2, 0, 6, 5], [2, 0])] {
        let result = [rest[0], rest[1], 2, 3];
        let pool = |x: &[Tensor]| adaptive_avg_pool2d(&x[0], (2, 3));
        check("adaptive_avg_pool2d", &[&shape], pool, &result);
        check(
            "global_avg_pool2d",
            &[&shape],
            |x| global_avg_pool2d(&x[0]),
            &rest,
        );
    }
}

/// The windows of huge axes must not be listed.
fn huge_axes_of_an_empty_batch() {
    const HUGE: usize = 1 << 60;
    let pool = Pool2dParams::new((2, 1)).with_stride((1, 1));
    let shape = [0, 1, HUGE, 1];
    let result = [0, 1, HUGE - 1, 1];
    check(
        "max_pool2d",
        &[&shape],
        |x| max_pool2d(&x[0], &pool),
        &result,
    );
    check(
        "avg_pool2d",
        &[&shape],
        |x| avg_pool2d(&x[0], &pool, AvgDivisor::Window),
        &result,
    );
    check(
        "adaptive_avg_pool2d",
        &[&[0, 3, 8, 8]],
        |x| adaptive_avg_pool2d(&x[0], (HUGE, 1)),
        &[0, 3, HUGE, 1],
    );
    check(
        "global_avg_pool2d",
        &[&shape],
        |x| global_avg_pool2d(&x[0]),
        &[0, 1],
    );
    check(
        "channel_shuffle",
        &[&shape],
        |x| channel_shuffle(&x[0], 1),
        &shape,
    );
    check(
        "batch_norm_act",
        &[&shape, &[2, 1]],
        |x| {
            let (own, act) = (Statistics::Batch, Activation::Mish);
            Ok(batch_norm_act(&x[0], &x[1], None, own, 1e-5, &act)?.0)
        },
        &shape,
    );
    // Kernels must fit, and planes must have values.
    let large = Pool2dParams::new((9, 1));
    let x = Tensor::zeros((0, 3, 8, 8), DType::F32, &device()).unwrap();
    assert!(max_pool2d(&x, &large).is_err());
    assert!(avg_pool2d(&x, &large, AvgDivisor::Values).is_err());
}

fn a_linear_layer() {
    let plain = |x: &[Tensor]| linear(&x[0], &x[1], None);
    let biased = |x: &[Tensor]| linear(&x[0], &x[1], Some(&x[2]));
    for rows in [vec![0], vec![0, 3], vec![3, 0]] {
        let x = [rows.as_slice(), &[4]].concat();
        let y = [rows.as_slice(), &[5]].concat();
        check("linear", &[&x, &[5, 4]], plain, &y);
        check("linear", &[&x, &[5, 4], &[5]], biased, &y);
    }
    // No inputs: the result is the bias, whose gradient is the number of rows.
    check("linear", &[&[3, 0], &[5, 0]], plain, &[3, 5]);
    let shapes: [&[usize]; 3] = [&[3, 0], &[5, 0], &[5]];
    check_all("linear", &shapes, biased, (&[3, 5], 1.0), &[0.0, 0.0, 3.0]);
    check("linear", &[&[3, 4], &[0, 4]], plain, &[3, 0]);
    check("linear", &[&[3, 4], &[0, 4], &[0]], biased, &[3, 0]);
}

fn losses() {
    let none: &[usize] = &[];
    let label = |rows: usize| Tensor::zeros(rows, DType::U32, &Device::Cpu);
    for (reduction, value) in [(Reduction::Mean, f64::NAN), (Reduction::Sum, 0.0)] {
        let options = CrossEntropy {
            reduction,
            ..CrossEntropy::default()
        };
        let by_class = |x: &[Tensor]| cross_entropy(&x[0], &Target::Classes(&label(0)?), &options);
        let by_probability = |x: &[Tensor]| {
            let probabilities = Tensor::zeros(x[0].shape(), DType::F32, &Device::Cpu)?;
            cross_entropy(&x[0], &Target::Probabilities(&probabilities), &options)
        };
        for classes in [0, 5] {
            let rows: &[usize] = &[0, classes];
            check_all("cross_entropy", &[rows], by_class, (none, value), &[0.0]);
            check_all(
                "cross_entropy",
                &[rows],
                by_probability,
                (none, value),
                &[0.0],
            );
        }
        check("cross_entropy", &[&[3, 0]], by_probability, none);
    }
    for classes in [0, 5] {
        let loss = |x: &[Tensor]| margin_loss(&x[0], &label(0)?, &Margin::default());
        check_all(
            "margin_loss",
            &[&[0, classes]],
            loss,
            (none, f64::NAN),
            &[0.0],
        );
    }
    for (shape, value) in [([0, 4], f64::NAN), ([3, 0], 0.0)] {
        let loss = |x: &[Tensor]| squared_error(&x[0], &x[0].zeros_like()?, 1.0);
        check_all("squared_error", &[&shape], loss, (none, value), &[0.0]);
    }
}

fn capsules() {
    for (shape, lengths) in [([0, 3, 4], [0, 3]), ([2, 0, 4], [2, 0])] {
        check("squash", &[&shape], |x| squash(&x[0]), &shape);
        check("length", &[&shape], |x| length(&x[0]), &lengths);
    }
    let shapes: [&[usize]; 2] = [&[0, 3, 4], &[3, 4, 5, 6]];
    check(
        "dynamic_routing",
        &shapes,
        |x| dynamic_routing(&x[0], &x[1], 3),
        &[0, 5, 6],
    );
}

fn what_pytorch_refuses_is_refused() {
    let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &device()).unwrap();
    let pool = Pool2dParams::new((2, 2));
    for shape in [[2, 0, 6, 5], [2, 3, 0, 5], [2, 3, 6, 0]] {
        let x = ones(&shape);
        assert!(max_pool2d(&x, &pool).is_err(), "{shape:?}");
        assert!(
            avg_pool2d(&x, &pool, AvgDivisor::Window).is_err(),
            "{shape:?}"
        );
    }
    for shape in [[2, 3, 0, 5], [2, 3, 6, 0]] {
        assert!(
            adaptive_avg_pool2d(&ones(&shape), (2, 2)).is_err(),
            "{shape:?}"
        );
        assert!(global_avg_pool2d(&ones(&shape)).is_err(), "{shape:?}");
    }
    // A label needs a class.
    let labels = Tensor::zeros(3, DType::U32, &device()).unwrap();
    let options = CrossEntropy::default();
    assert!(cross_entropy(&ones(&[3, 0]), &Target::Classes(&labels), &options).is_err());
    assert!(margin_loss(&ones(&[3, 0]), &labels, &Margin::default()).is_err());
    assert!(cat(&[&ones(&[0, 3]), &ones(&[2, 4])], 0).is_err());
    assert!(channel_shuffle(&ones(&[0, 3]), 2).is_err());
    assert!(linear(&ones(&[0, 3]), &ones(&[5, 4]), None).is_err());
}
