//! The scale of channels with residual and activation against its definition in f64, the separate
//! ops and finite differences.

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::Activation;
use candle_mish::autograd::trace::{Operation, trace};
use candle_mish::ops::{activation, add, scale_channels, scale_channels_add_act};
use proptest::prelude::*;

use crate::support::{
    assert_close, check_gradients, device, every_device, gradients, made, real, strided, uniform,
    values,
};

/// A result of some tensors.
type Function = fn(&[Tensor]) -> Result<Tensor>;

test_all_devices! {
    gradients_of_every_fused_activation_are_those_of_its_derivative,
    every_type_on_large_and_on_small_planes,
    what_does_not_fit_is_refused,
}

/// All kinds of kernels, and at the end activations without a kernel, which are separate ops.
const ACTIVATIONS: [Activation; 12] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Mish,
    Activation::Silu,
    Activation::HardSwish,
    Activation::Gelu,
    Activation::Celu { alpha: 0.5 },
    Activation::LogSigmoid,
    Activation::Softsign,
    Activation::Sqnl,
];

/// Planes shorter than a vector, of whole vectors, and larger than a block of sums and than all
/// thresholds for threads.
const SHAPES: [(usize, usize, usize, usize); 7] = [
    (1, 1, 1, 1),
    (2, 3, 1, 2),
    (3, 5, 7, 7),
    (1, 4, 4, 8),
    (8, 33, 9, 10),
    (2, 3, 112, 113),
    (1, 2, 130, 130),
];

fn inputs(seed: u64, shape: (usize, usize, usize, usize)) -> [Tensor; 3] {
    let (n, c, _, _) = shape;
    [
        uniform(seed, shape),
        uniform(seed ^ 1, (n, c)),
        uniform(seed ^ 2, shape),
    ]
}

fn fused(x: &[Tensor], act: &Activation) -> Result<Tensor> {
    scale_channels_add_act(&x[0], &x[1], &x[2], act)
}

fn separate(x: &[Tensor], act: &Activation) -> Result<Tensor> {
    activation(&add(&scale_channels(&x[0], &x[1])?, &x[2])?, act)
}

fn oracle([x, s, residual]: &[Tensor; 3], act: &Activation) -> Tensor {
    let plane = x.elem_count() / s.elem_count();
    let (s, residual) = (values(s), values(residual));
    let y = values(x).into_iter().enumerate();
    let y = y.map(|(i, x)| act.value(x * s[i / plane] + residual[i]));
    made(y.collect(), x.shape())
}

proptest! {
    #[test]
    fn any_shape_and_layout(
        n in 1usize..4, c in 1usize..4, h in 1usize..6, w in 1usize..6,
        which in 0..ACTIVATIONS.len(), seed: u64,
    ) {
        every_device(|| {
            let act = &ACTIVATIONS[which];
            let inputs = inputs(seed, (n, c, h, w));
            let expected = oracle(&inputs, act);
            assert_close(&fused(&inputs, act).unwrap(), &expected, 1e-12);
            let views = inputs.each_ref().map(strided);
            assert_close(&fused(&views, act).unwrap(), &expected, 1e-12);
            let [x, s, residual] = inputs;
            let planes = s.reshape((n, c, 1, 1)).unwrap();
            let inputs = [x, planes, residual];
            assert_close(&fused(&inputs, act).unwrap(), &expected, 1e-12);
            check_gradients(&inputs, |x| fused(x, &Activation::Mish));
            check_gradients(&inputs, |x| fused(x, &Activation::Identity));
            check_gradients(&inputs, |x| {
                let views: Vec<Tensor> = [&x[2], &x[1], &x[0]].map(strided).into();
                fused(&views, &Activation::Silu)
            });
            Ok(())
        })?;
    }
}

fn gradients_of_every_fused_activation_are_those_of_its_derivative() {
    let inputs = inputs(1, (2, 3, 5, 5));
    for act in ACTIVATIONS {
        check_gradients(&inputs, |x| fused(x, &act));
    }
    // One tensor as both arguments: its gradients are added.
    check_gradients(&inputs[..2], |x| {
        scale_channels_add_act(&x[0], &x[1], &x[0], &Activation::Mish)
    });
}

fn every_type_on_large_and_on_small_planes() {
    for shape in SHAPES {
        for (dtype, tolerance) in [
            (real(), 1e-12),
            (DType::F32, 1e-5),
            (DType::F16, 2e-3),
            (DType::BF16, 2e-2),
        ] {
            let inputs = inputs(6, shape).map(|x| x.to_dtype(dtype).unwrap());
            let wide = inputs.each_ref().map(|x| x.to_dtype(real()).unwrap());
            let y = fused(&inputs, &Activation::Mish).unwrap();
            assert_eq!(y.dtype(), dtype);
            assert_close(&y, &oracle(&wide, &Activation::Mish), tolerance);
            let widened = |x: &[Tensor]| fused(x, &Activation::Mish)?.to_dtype(real());
            let expected = gradients(&wide, widened);
            for (found, expected) in gradients(&inputs, widened).iter().zip(&expected) {
                assert_eq!((found.dims(), found.dtype()), (expected.dims(), dtype));
                let scale = values(expected).iter().fold(1.0f64, |m, v| m.max(v.abs()));
                let relative = |x: &Tensor| {
                    let x = values(x).into_iter().map(|x| x / scale);
                    made(x.collect(), expected.shape())
                };
                assert_close(&relative(found), &relative(expected), tolerance);
            }
        }
    }
}

/// Bits, where all NaN are equal.
fn bits(x: &Tensor) -> Vec<u64> {
    let bits = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
    values(x).into_iter().map(bits).collect()
}

#[test]
fn values_and_gradients_have_the_bits_of_the_separate_ops() {
    for dtype in [DType::F32, DType::F64] {
        for shape in SHAPES {
            let inputs = inputs(9, shape).map(|x| x.to_dtype(dtype).unwrap());
            for act in [Activation::Relu, Activation::Mish, Activation::Softsign] {
                let (ours, theirs) = (fused(&inputs, &act), separate(&inputs, &act));
                assert_eq!(bits(&ours.unwrap()), bits(&theirs.unwrap()), "{act:?}");
                let ours = gradients(&inputs, |x| fused(x, &act));
                let theirs = gradients(&inputs, |x| separate(x, &act));
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    assert_eq!(bits(ours), bits(theirs), "{act:?} {shape:?} {dtype:?}");
                }
            }
        }
    }
}

#[test]
fn extreme_values_are_those_of_the_separate_ops() {
    let extremes = [
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        3e38,
        -3e38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1.0,
        -90.0,
        90.0,
    ];
    let count = extremes.len();
    // All pairs of x and residual, with each factor.
    let x: Vec<f32> = (0..count * count).map(|i| extremes[i % count]).collect();
    let residual: Vec<f32> = (0..count * count).map(|i| extremes[i / count]).collect();
    let tensor = |values: &[f32], shape: &[usize]| {
        let values = Tensor::new(values, &Device::Cpu).unwrap();
        values.reshape(shape).unwrap()
    };
    let planes = |values: &[f32]| tensor(&values.repeat(count), &[1, count, count, count]);
    let inputs = [
        planes(&x),
        tensor(&extremes, &[1, count]),
        planes(&residual),
    ];
    for act in ACTIVATIONS {
        let (ours, theirs) = (fused(&inputs, &act), separate(&inputs, &act));
        assert_eq!(bits(&ours.unwrap()), bits(&theirs.unwrap()), "{act:?}");
        let ours = gradients(&inputs, |x| fused(x, &act));
        let theirs = gradients(&inputs, |x| separate(x, &act));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(bits(ours), bits(theirs), "{act:?}");
        }
    }
}

/// The sums of a factor's gradient stay accurate on large planes.
#[test]
fn single_precision_sums_are_those_of_double() {
    let shape = (2, 3, 224, 225);
    let double = inputs(4, shape).map(|x| x.to_dtype(DType::F32).unwrap());
    let double = double.map(|x| x.to_dtype(DType::F64).unwrap());
    let single = double.each_ref().map(|x| x.to_dtype(DType::F32).unwrap());
    let functions: [Function; 2] = [
        |x| fused(x, &Activation::Identity)?.to_dtype(DType::F64),
        |x| scale_channels(&x[0], &x[1])?.to_dtype(DType::F64),
    ];
    for f in functions {
        let f = |x: &[Tensor]| f(x);
        let inputs = |x: &[Tensor; 3]| x[..2].to_vec();
        let all = |x: &[Tensor], residual: &Tensor| f(&[&x[0], &x[1], residual].map(Tensor::clone));
        let expected = gradients(&inputs(&double), |x| all(x, &double[2]));
        let found = gradients(&inputs(&single), |x| all(x, &single[2]));
        // Relative to the sum of the products' sizes, which is about one per value.
        let count = (shape.2 * shape.3) as f64;
        for (found, expected) in values(&found[1]).iter().zip(values(&expected[1])) {
            assert!(
                (found - expected).abs() < 2e-7 * count,
                "{found} {expected}"
            );
        }
    }
}

/// A plane's result and the sum of its factor do not depend on the batch or on the threads.
#[test]
fn one_image_has_the_bits_of_its_place_in_the_batch() {
    let batch = inputs(3, (5, 7, 23, 29)).map(|x| x.to_dtype(DType::F32).unwrap());
    let run = |x: &[Tensor]| {
        let y = fused(x, &Activation::Mish).unwrap();
        let sums = y.sum((2, 3)).unwrap();
        assert_eq!(sums.dims(), [x[0].dims()[0], 7]);
        y
    };
    let all = run(&batch);
    for image in 0..5 {
        let one = batch.each_ref().map(|x| x.narrow(0, image, 1).unwrap());
        assert_eq!(bits(&run(&one)), bits(&all.narrow(0, image, 1).unwrap()));
    }
    let first = gradients(&batch, |x| fused(x, &Activation::Mish));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
    let second = pool
        .unwrap()
        .install(|| gradients(&batch, |x| fused(x, &Activation::Mish)));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(bits(first), bits(second));
    }
}

/// A trace has the separate operations, not the fused one.
#[test]
fn a_trace_has_the_separate_operations() -> Result<()> {
    let x = Tensor::ones((1, 2, 3, 3), DType::F32, &Device::Cpu)?;
    let s = Tensor::ones((1, 2), DType::F32, &Device::Cpu)?;
    let constants = vec![("s".to_string(), s.clone())];
    let graph = trace(&x, constants, |x| {
        scale_channels_add_act(x, &s, x, &Activation::Relu)
    })?;
    let operations: Vec<Operation> = graph.nodes.into_iter().map(|node| node.operation).collect();
    let expected = [
        Operation::ScaleChannels,
        Operation::AddScaled { scale: 1.0 },
        Operation::Activation(Activation::Relu),
    ];
    assert_eq!(operations, expected);
    Ok(())
}

fn what_does_not_fit_is_refused() {
    let [x, s, residual] = inputs(1, (2, 3, 4, 5));
    let refused = |x: &Tensor, s: &Tensor, residual: &Tensor| {
        scale_channels_add_act(x, s, residual, &Activation::Relu).is_err()
    };
    assert!(refused(&x, &uniform(1, (2, 4)), &residual));
    assert!(refused(&x, &s, &uniform(1, (2, 3, 4, 1))));
    assert!(refused(&s, &s, &s));
    assert!(refused(&x, &s.to_dtype(DType::BF16).unwrap(), &residual));
    assert!(refused(&x, &s, &residual.to_dtype(DType::BF16).unwrap()));
    let integers = x.zeros_like().unwrap().to_dtype(DType::U8).unwrap();
    let ones = Tensor::zeros((2, 3), DType::U8, &device()).unwrap();
    assert!(refused(&integers, &ones, &integers));
}
