//! Activations: the table, reading and printing, PyTorch's values, finite differences, the
//! vector kernels against the table, and the layer with its parameters.

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor, Var};
use candle_mish::nn::{Act, ParamStore, act};
use candle_mish::ops::activation::{activation, leaky_relu_with, prelu, srelu};
use candle_mish::rng::Generator;
use candle_mish::{Activation, ParseActivationError, autograd};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{array, assert_values, check_gradients, device, real, uniform, values};

test_all_devices! {
    values_and_gradients_are_pytorchs,
    the_op_is_the_table_in_every_type,
    small_values_keep_their_relative_accuracy,
    what_is_no_number_stays_none_and_limits_are_finite_or_grow,
    strided_and_empty_tensors,
    learnable_activations_pass_gradients_to_everything,
    parameters_of_another_shape_are_refused,
    layers_start_as_their_function_and_learn_what_can_be_learned,
    random_slopes_are_drawn_in_training_only,
    kinks_have_the_gradients_of_pytorch_where_candle_has_others,
    candles_activations_are_the_same_functions,
}

/// The activations of the paper's comparison, and the added ones.
#[test]
fn the_table_is_complete() {
    let names: Vec<_> = Activation::all().map(|a| a.name()).collect();
    let wanted = "mish silu e_swish gelu gelu_tanh relu relu6 leaky_relu rrelu prelu srelu elu \
        celu selu softplus hard_shrink soft_shrink tanh_shrink hardtanh log_sigmoid sigmoid \
        hard_sigmoid tanh penalized_tanh softsign aria2 bent_identity sqnl elish hard_elish isru \
        isrlu flatten_t_swish sine_relu weighted_tanh lecun_tanh soft_clipping thresholded_relu \
        hard_swish hard_mish identity prelu_shared";
    for name in wanted.split_whitespace() {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(names.len(), wanted.split_whitespace().count());
    let mut all: Vec<_> = Activation::all()
        .flat_map(|a| a.aliases().to_vec())
        .collect();
    all.extend(names);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "two activations share a name");
}

#[test]
fn names_round_trip() {
    for default in Activation::all() {
        assert_eq!(default.to_string(), default.name());
        for name in default.aliases().iter().copied().chain([default.name()]) {
            assert_eq!(name.parse(), Ok(default));
            assert_eq!(name.to_uppercase().parse(), Ok(default));
        }
    }
    for text in [
        "leaky_relu:0.1",
        "hardtanh:-2,0.5",
        "srelu:-1,0.1,2,0.5",
        "elu:0.5",
    ] {
        let activation: Activation = text.parse().unwrap();
        assert_eq!(activation.to_string(), text);
        let json = serde_json::to_string(&activation).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<Activation>(&json).unwrap(),
            activation
        );
    }
    assert_eq!("elu:1.0".parse(), Ok(Activation::Elu { alpha: 1.0 }));
    assert_eq!("swish".parse(), Ok(Activation::Silu));
    let partly: Activation = "aria2:2".parse().unwrap();
    assert_eq!(partly.to_string(), "aria2:2,1.5");
}

proptest! {
    #[test]
    fn any_parameter_round_trips(slope in -1e6..1e6f64, lower in -1.0..0.0f64, upper in 0.0..1.0f64) {
        for activation in [Activation::LeakyRelu { slope }, Activation::RRelu { lower, upper }] {
            prop_assert_eq!(activation.to_string().parse(), Ok(activation));
        }
    }

    #[test]
    fn reading_never_panics(text in "\\PC*") {
        let _ = text.parse::<Activation>();
    }
}

#[test]
fn errors_say_what_would_be_right() {
    let error = |text: &str| text.parse::<Activation>().unwrap_err().to_string();
    assert_eq!(
        error("mich"),
        "unknown activation 'mich'; did you mean 'mish'?"
    );
    assert_eq!(
        error("leakyrelu"),
        "unknown activation 'leakyrelu'; did you mean 'leaky_relu'?"
    );
    assert_eq!(error("qqqq"), "unknown activation 'qqqq'");
    assert_eq!(error("elu:x"), "activation 'elu': 'x' is not a number");
    assert_eq!(error("elu:inf"), "activation 'elu': 'inf' is not a number");
    assert_eq!(error("elu:"), "activation 'elu': '' is not a number");
    assert_eq!(
        error("mish:1"),
        "activation 'mish' takes no parameters, not 1"
    );
    assert_eq!(
        error("elu:1,2"),
        "activation 'elu' takes one parameter, not 2"
    );
    assert_eq!(
        error("hardtanh:1,1"),
        "activation 'hardtanh': min must be less than max"
    );
    assert!(matches!(
        "celu:0".parse::<Activation>(),
        Err(ParseActivationError::OutOfRange { name: "celu", .. })
    ));
    let error = serde_json::from_str::<Activation>("\"mich\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("did you mean 'mish'?"), "{error}");
}

#[derive(Deserialize)]
struct Reference {
    points: Vec<f64>,
    functions: std::collections::BTreeMap<String, ReferenceFunction>,
}

#[derive(Deserialize)]
struct ReferenceFunction {
    value: Vec<f64>,
    gradient: Vec<f64>,
}

/// The points in `dtype`, on the CPU.
fn rounded(points: &[f64], dtype: DType) -> Result<Tensor> {
    Tensor::new(points, &Device::Cpu)?.to_dtype(dtype)
}

/// Whether the target has the type `dtype`.
fn has(dtype: DType) -> bool {
    dtype != DType::F64 || real() == DType::F64
}

/// Value and gradient of every point through the op, in `dtype`.
fn apply(function: &Activation, points: &[f64], dtype: DType) -> Result<(Vec<f64>, Vec<f64>)> {
    let x = rounded(points, dtype)?.to_device(&device())?;
    let x = Var::from_tensor(&x)?;
    let y = activation(x.as_tensor(), function)?;
    let gradients = y.sum_all()?.backward()?;
    let gradient = gradients.get(x.as_tensor()).map(values);
    // The identity is not an op, so its gradient is the gradient of the sum.
    Ok((
        values(&y),
        gradient.unwrap_or_else(|| vec![1.0; points.len()]),
    ))
}

fn values_and_gradients_are_pytorchs() -> Result<()> {
    let reference: Reference =
        serde_json::from_str(include_str!("../reference/activation.json")).unwrap();
    // The points are not rounded to f32, which matters for the steepest functions.
    let (tolerance, steep) = match real() {
        DType::F32 => (2e-6, 2e-5),
        _ => (1e-14, 1e-13),
    };
    for (name, expected) in &reference.functions {
        let function: Activation = name.parse().unwrap();
        let (value, gradient) = apply(&function, &reference.points, real())?;
        let points = reference.points.iter();
        for (i, x) in points.enumerate() {
            let (v, e) = (value[i], expected.value[i]);
            assert!(
                (v - e).abs() <= tolerance * (1.0 + e.abs()),
                "{name}({x}) = {v}, not {e}"
            );
            let (g, e) = (gradient[i], expected.gradient[i]);
            assert!(
                (g - e).abs() <= steep * (1.0 + e.abs()),
                "{name}'({x}) = {g}, not {e}"
            );
        }
    }
    Ok(())
}

/// Points over the bends of all activations, without their kinks.
fn points() -> Vec<f64> {
    (-2000..2000)
        .map(|i| f64::from(i) * 0.0051 + 0.001_234)
        .collect()
}

#[test]
fn derivatives_are_finite_differences() {
    for function in Activation::all() {
        for x in points() {
            let h = 1e-5;
            let difference = (function.value(x + h) - function.value(x - h)) / (2.0 * h);
            let derivative = function.derivative(x);
            let slack = (function.derivative(x + h) - function.derivative(x - h)).abs();
            assert!(
                (difference - derivative).abs() <= 1e-8 + slack,
                "{function}'({x}) = {derivative}, not {difference}"
            );
        }
    }
}

fn the_op_is_the_table_in_every_type() -> Result<()> {
    let mut points = points();
    points.extend([-700.0, -88.0, -20.0, 15.0, 20.0, 88.0, 700.0]);
    for function in Activation::all() {
        for (dtype, tolerance) in [
            (DType::F64, 1e-14),
            (DType::F32, 1e-6),
            (DType::F16, 1e-3),
            (DType::BF16, 8e-3),
        ] {
            if !has(dtype) {
                continue;
            }
            let rounded = values(&rounded(&points, dtype)?);
            let (value, gradient) = apply(&function, &rounded, dtype)?;
            for (i, x) in rounded.iter().enumerate() {
                let (v, e) = (value[i], function.value(*x));
                assert!(
                    (v - e).abs() <= tolerance * e.abs().max(1.0),
                    "{function}({x}) = {v}, not {e} in {dtype:?}"
                );
                let (g, e) = (gradient[i], function.derivative(*x));
                assert!(
                    (g - e).abs() <= tolerance * e.abs().max(1.0),
                    "{function}'({x}) = {g}, not {e} in {dtype:?}"
                );
            }
        }
    }
    Ok(())
}

/// Near a zero of a function the relative error must stay small.
/// The formulas of the table, whose arithmetic is f64 on every device.
#[test]
fn the_table_is_accurate_near_zero_and_far_out() {
    let reference: Reference =
        serde_json::from_str(include_str!("../reference/activation_exact.json")).unwrap();
    for (name, expected) in &reference.functions {
        let function: Activation = name.parse().unwrap();
        // Far out, e^(-x^2 / 2) has as many wrong digits as x^2 has.
        let tolerance = if name.starts_with("gelu") {
            5e-12
        } else {
            1e-14
        };
        for (i, x) in reference.points.iter().enumerate() {
            let (value, gradient) = (expected.value[i], expected.gradient[i]);
            for (found, wanted) in [
                (function.value(*x), value),
                (function.derivative(*x), gradient),
            ] {
                assert!(
                    (found - wanted).abs() <= tolerance * wanted.abs() + 1e-300,
                    "{name}({x:e}): {found:e}, not {wanted:e}"
                );
            }
        }
    }
}

fn small_values_keep_their_relative_accuracy() -> Result<()> {
    let magnitudes: Vec<f64> = (-60..=5)
        .flat_map(|exponent| [1.0, 1.37].map(|m| m * f64::from(exponent).exp2()))
        .collect();
    let left = magnitudes.iter().map(|x| -x);
    let points: Vec<f64> = left.chain(magnitudes.iter().copied()).collect();
    let functions = [
        Activation::Gelu,
        Activation::Elu { alpha: 0.7 },
        Activation::Celu { alpha: 0.5 },
        Activation::Celu { alpha: -0.5 },
        Activation::Selu,
        Activation::Tanh,
        Activation::WeightedTanh { weight: -0.4 },
        Activation::LecunTanh,
        Activation::Softplus { beta: 1.5 },
        Activation::LogSigmoid,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Mish,
        Activation::TanhShrink,
        Activation::BentIdentity,
    ];
    for function in functions {
        // The erfc of the table has about 12 correct digits in the tail.
        for (dtype, tolerance, smallest) in [(DType::F64, 2e-12, 1e-300), (DType::F32, 2e-6, 1e-37)]
        {
            if !has(dtype) {
                continue;
            }
            let rounded = values(&rounded(&points, dtype)?);
            let (value, _) = apply(&function, &rounded, dtype)?;
            for (x, v) in rounded.iter().zip(&value) {
                let e = function.value(*x);
                assert!(
                    (v - e).abs() <= tolerance * e.abs() + smallest,
                    "{function}({x:e}) = {v:e}, not {e:e} in {dtype:?}"
                );
            }
        }
    }
    Ok(())
}

fn what_is_no_number_stays_none_and_limits_are_finite_or_grow() -> Result<()> {
    let points = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    for function in Activation::all() {
        for dtype in [DType::F32, real()] {
            let (value, _) = apply(&function, &points, dtype)?;
            assert!(value[0].is_nan(), "{function}(NaN) = {}", value[0]);
            // The sine has no limit.
            if !matches!(function, Activation::SineRelu { .. }) {
                assert!(
                    !value[1].is_nan() && !value[2].is_nan(),
                    "{function}: {value:?}"
                );
                let far = function.value(-1e4);
                let limit = value[2];
                assert!(
                    (limit - far).abs() < 0.01 || (limit == f64::NEG_INFINITY && far < -50.0),
                    "{function}(-inf) = {limit}, but at -1e4 it is {far}"
                );
            }
        }
    }
    Ok(())
}

fn strided_and_empty_tensors() -> Result<()> {
    let x = uniform(3, (3, 4, 5));
    for function in Activation::all() {
        let expected: Vec<f64> = values(&x.transpose(0, 2)?.contiguous()?)
            .into_iter()
            .map(|x| function.value(x))
            .collect();
        let y = activation(&x.transpose(0, 2)?, &function)?;
        assert_eq!(y.dims(), [5, 4, 3]);
        assert_values(&values(&y), &expected, 1e-14);
        assert_eq!(
            activation(&x.narrow(1, 0, 0)?, &function)?.dims(),
            [3, 0, 5]
        );
    }
    Ok(())
}

fn learnable_activations_pass_gradients_to_everything() {
    let x = uniform(1, (3, 4, 2, 5));
    let slopes = |shape: usize| uniform(2, shape);
    check_gradients(&[x.clone(), slopes(4)], |t| prelu(&t[0], &t[1]));
    check_gradients(&[x.clone(), slopes(1)], |t| prelu(&t[0], &t[1]));
    check_gradients(&[uniform(4, (6, 4)), slopes(4)], |t| prelu(&t[0], &t[1]));
    check_gradients(&[uniform(4, 7), slopes(1)], |t| prelu(&t[0], &t[1]));
    check_gradients(&[x.transpose(2, 3).unwrap(), slopes(4)], |t| {
        prelu(&t[0], &t[1])
    });
    check_gradients(&[x.clone(), uniform(5, (3, 4, 2, 5))], |t| {
        leaky_relu_with(&t[0], &t[1])
    });
    // Left thresholds below the right ones.
    let offsets = array(&[[-0.8f64], [0.0], [0.7], [0.0]]);
    for channels in [1, 4] {
        let rows = (uniform(6, (4, channels)) * 0.2)
            .unwrap()
            .broadcast_add(&offsets)
            .unwrap();
        check_gradients(&[x.clone(), rows], |t| srelu(&t[0], &t[1]));
    }
}

fn parameters_of_another_shape_are_refused() {
    let x = uniform(1, (2, 4, 3));
    assert!(prelu(&x, &uniform(1, 3)).is_err());
    assert!(srelu(&x, &uniform(1, (3, 4))).is_err());
    assert!(leaky_relu_with(&x, &uniform(1, 4)).is_err());
}

fn layer(text: &str, store: &ParamStore) -> Act {
    let function: Activation = text.parse().unwrap();
    let generator = Generator::new(7);
    act(&function, 4, store.var_builder().pp("act"), &generator).unwrap()
}

fn layers_start_as_their_function_and_learn_what_can_be_learned() -> Result<()> {
    let x = uniform(8, (2, 4, 3, 3)).to_dtype(DType::F32)?;
    for function in Activation::all() {
        let store = ParamStore::new(DType::F32, &device(), 0);
        let act = layer(function.name(), &store);
        let y = values(&act.forward_t(&x, false)?);
        let expected: Vec<f64> = values(&x).into_iter().map(|x| function.value(x)).collect();
        assert_values(&y, &expected, 1e-6);
        let names: Vec<String> = store.params().into_iter().map(|(name, _)| name).collect();
        let (_, _, gradients) =
            autograd::value_and_grad(|| Ok((act.forward_t(&x, true)?.sum_all()?, ())))?;
        for (name, parameter) in store.params() {
            let gradient = gradients.get(parameter.as_tensor());
            assert!(
                gradient.is_some_and(|g| g.dims() == parameter.dims()),
                "{name}"
            );
        }
        let expected: &[&str] = match function {
            Activation::PRelu { .. } | Activation::PReluShared { .. } => &["act.weight"],
            Activation::SRelu { .. } => &[
                "act.left_threshold",
                "act.left_slope",
                "act.right_threshold",
                "act.right_slope",
            ],
            _ => &[],
        };
        assert_eq!(names, expected, "{function}");
    }
    Ok(())
}

fn random_slopes_are_drawn_in_training_only() -> Result<()> {
    let store = ParamStore::new(DType::F32, &device(), 0);
    let x = Tensor::full(-1f32, 10_000, &device())?;
    let act = layer("rrelu:0.1,0.3", &store);
    let first = values(&act.forward_t(&x, true)?);
    assert!(first.iter().all(|y| (-0.300_001..=-0.099_999).contains(y)));
    let mean = first.iter().sum::<f64>() / first.len() as f64;
    assert!((mean + 0.2).abs() < 0.003, "{mean}");
    assert_ne!(first, values(&act.forward_t(&x, true)?));
    // The same generator gives the same slopes.
    assert_eq!(
        first,
        values(&layer("rrelu:0.1,0.3", &store).forward_t(&x, true)?)
    );
    let evaluated = values(&act.forward_t(&x, false)?);
    assert!(evaluated.iter().all(|y| (y + 0.2).abs() < 1e-7));
    Ok(())
}

/// Candle's ReLU has slope 1 at 0. Its clamp, which implements ReLU6, has half slopes at both ends.
/// PyTorch's slopes are 0.
fn kinks_have_the_gradients_of_pytorch_where_candle_has_others() -> Result<()> {
    let gradient = |x: f32, f: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<f32> {
        let x = Var::new(x, &device())?;
        let gradients = f(&x)?.backward()?;
        let gradient = gradients.get(&x).map(|g| g.to_scalar());
        gradient.unwrap_or(Ok(f32::NAN))
    };
    assert_eq!(gradient(0.0, &|x| x.relu())?, 1.0);
    assert_eq!(gradient(0.0, &|x| activation(x, &Activation::Relu))?, 0.0);
    for end in [0.0, 6.0] {
        assert_ne!(gradient(end, &|x| x.clamp(0f32, 6f32))?, 0.0);
        assert_eq!(gradient(end, &|x| activation(x, &Activation::Relu6))?, 0.0);
    }
    Ok(())
}

fn candles_activations_are_the_same_functions() -> Result<()> {
    use candle_nn::Activation as Candle;
    let x = array(points());
    let all = [
        Candle::Gelu,
        Candle::NewGelu,
        Candle::GeluPytorchTanh,
        Candle::Relu,
        Candle::Relu6,
        Candle::Silu,
        Candle::Swish,
        Candle::Sigmoid,
        Candle::HardSigmoid,
        Candle::Mish,
        Candle::HardSwish,
        Candle::Elu(0.5),
        Candle::LeakyRelu(0.2),
    ];
    for candle in all {
        let ours = Activation::try_from(candle).unwrap().forward(&x)?;
        assert_values(&values(&ours), &values(&candle.forward(&x)?), 1e-6);
    }
    for candle in [Candle::Relu2, Candle::Swiglu] {
        let error = Activation::try_from(candle).unwrap_err();
        assert!(matches!(error, ParseActivationError::Unknown { .. }));
    }
    Ok(())
}
