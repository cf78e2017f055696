//! Group and layer normalisation against the definition in f64, PyTorch and finite differences.

use candle_core::{DType, Tensor, Var};
use candle_mish::ops::{group_norm, layer_norm};
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::{
    array, assert_close, assert_values, check_gradients, every_device, gradients, made, real,
    strided, uniform, values,
};

test_all_devices! {
    every_type_on_large_tensors,
    single_precision_gradients_are_those_of_double,
    a_mean_far_from_zero_does_not_cancel,
    values_and_gradients_are_those_of_pytorch,
    empty_and_unfit_tensors,
}

const EPS: f64 = 1e-5;

/// Normalises rows of `len` values. Value `i` of row `r` has the weight and bias of channel
/// `channel(r, i)`.
fn oracle(
    x: &Tensor,
    len: usize,
    channel: impl Fn(usize, usize) -> usize,
    weight: &Tensor,
    bias: &Tensor,
) -> Tensor {
    let (weight, bias) = (values(weight), values(bias));
    let mut y = Vec::new();
    for (r, row) in values(x).chunks(len).enumerate() {
        let mean = row.iter().sum::<f64>() / len as f64;
        let squares = row.iter().map(|v| (v - mean).powi(2));
        let deviation = (squares.sum::<f64>() / len as f64 + EPS).sqrt();
        y.extend(row.iter().enumerate().map(|(i, v)| {
            let c = channel(r, i);
            (v - mean) / deviation * weight[c] + bias[c]
        }));
    }
    made(y, x.dims())
}

fn group_oracle(x: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor) -> Tensor {
    let plane: usize = x.dims()[2..].iter().product();
    let channels = x.dims()[1] / groups;
    let channel = |row: usize, i: usize| row % groups * channels + i / plane;
    oracle(x, channels * plane, channel, weight, bias)
}

/// Whether all rows vary enough for finite differences.
fn varied(x: &Tensor, len: usize) -> bool {
    values(x).chunks(len).all(|row| {
        let mean = row.iter().sum::<f64>() / len as f64;
        row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() > 0.1 * len as f64
    })
}

proptest! {
    #[test]
    fn groups_of_any_shape(
        n in 1usize..4, groups in 1usize..4, per_group in 1usize..4, h in 1usize..4,
        w in 1usize..5, seed: u64,
    ) {
        every_device(|| {
            let channels = groups * per_group;
            let x = uniform(seed, (n, channels, h, w));
            let (weight, bias) = (uniform(seed ^ 1, channels), uniform(seed ^ 2, channels));
            let expected = group_oracle(&x, groups, &weight, &bias);
            let f = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
                group_norm(x, groups, Some(weight), Some(bias), EPS)
            };
            assert_close(&f(&x, &weight, &bias).unwrap(), &expected, 1e-10);
            let y = f(&strided(&x), &strided(&weight), &strided(&bias)).unwrap();
            assert_close(&y, &expected, 1e-10);
            prop_assume!(varied(&x, per_group * h * w));
            check_gradients(&[x.clone(), weight, bias], |x| f(&x[0], &x[1], &x[2]));
            check_gradients(&[x], |x| group_norm(&x[0], groups, None, None, EPS));
            Ok(())
        })?;
    }

    #[test]
    fn last_axes_of_any_shape(
        rows in 1usize..5, a in 1usize..4, b in 1usize..6, both: bool, seed: u64,
    ) {
        every_device(|| {
            let x = uniform(seed, (rows, a, b));
            let shape = if both { vec![a, b] } else { vec![b] };
            let len = shape.iter().product();
            let weight = uniform(seed ^ 1, shape.as_slice());
            let bias = uniform(seed ^ 2, shape.as_slice());
            let expected = oracle(&x, len, |_, i| i, &weight, &bias);
            let f = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
                layer_norm(x, &shape, Some(weight), Some(bias), EPS)
            };
            assert_close(&f(&x, &weight, &bias).unwrap(), &expected, 1e-10);
            let y = f(&strided(&x), &strided(&weight), &strided(&bias)).unwrap();
            assert_close(&y, &expected, 1e-10);
            prop_assume!(varied(&x, len));
            check_gradients(&[x.clone(), weight, bias], |x| f(&x[0], &x[1], &x[2]));
            check_gradients(&[x], |x| layer_norm(&x[0], &shape, None, None, EPS));
            Ok(())
        })?;
    }
}

/// Larger than all thresholds for threads, and with a mean that is not zero.
fn every_type_on_large_tensors() {
    for (dtype, tolerance) in [
        (real(), 1e-10),
        (DType::F32, 2e-5),
        (DType::F16, 4e-3),
        (DType::BF16, 3e-2),
    ] {
        let (weight, bias) = (uniform(2, 48), uniform(3, 48));
        let x = (uniform(1, (6, 48, 15, 17)) + 3.0).unwrap();
        let x = x.to_dtype(dtype).unwrap();
        let y = group_norm(&x, 8, Some(&weight), Some(&bias), EPS).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &group_oracle(&x, 8, &weight, &bias), tolerance);

        let x = (uniform(1, (1500, 48)) - 3.0).unwrap();
        let x = x.to_dtype(dtype).unwrap();
        let y = layer_norm(&x, &[48], Some(&weight), Some(&bias), EPS).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_close(&y, &oracle(&x, 48, |_, i| i, &weight, &bias), tolerance);
    }
}

fn single_precision_gradients_are_those_of_double() {
    if real() == DType::F32 {
        return;
    }
    for (shape, groups) in [((6, 48, 15, 17), 8), ((1500, 48, 1, 1), 1)] {
        let inputs = [uniform(1, shape), uniform(2, 48), uniform(3, 48)];
        let f = |x: &[Tensor]| {
            let y = group_norm(&x[0], groups, Some(&x[1]), Some(&x[2]), EPS)?;
            y.to_dtype(DType::F64)
        };
        let expected = gradients(&inputs, f);
        let single = inputs.each_ref().map(|x| x.to_dtype(DType::F32).unwrap());
        for (single, double) in gradients(&single, f).iter().zip(&expected) {
            assert_eq!(single.dtype(), DType::F32);
            assert_close(single, double, 2e-5);
        }
        assert_eq!(
            values(&gradients(&inputs, f)[1]),
            values(&expected[1]),
            "the order of sums"
        );
    }
}

fn a_mean_far_from_zero_does_not_cancel() {
    let x = (uniform(5, (4, 8, 8, 8)) + 1e4).unwrap();
    let x = x.to_dtype(DType::F32).unwrap();
    let (weight, bias) = (uniform(2, 8), uniform(3, 8));
    let y = group_norm(&x, 2, Some(&weight), Some(&bias), EPS).unwrap();
    assert_close(&y, &group_oracle(&x, 2, &weight, &bias), 1e-5);
}

#[derive(Deserialize)]
struct Case {
    op: String,
    shape: Vec<usize>,
    argument: Vec<usize>,
    eps: f64,
    x: Vec<f64>,
    weight: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    y: Vec<f64>,
    grad: Vec<f64>,
    dx: Vec<f64>,
    dweight: Option<Vec<f64>>,
    dbias: Option<Vec<f64>>,
}

fn values_and_gradients_are_those_of_pytorch() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../reference/group_norm.json")).unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let var = |values: &[f64], shape: &[usize]| {
            let x = array(values);
            Var::from_tensor(&x.reshape(shape).unwrap()).unwrap()
        };
        let x = var(&case.x, &case.shape);
        let size = match case.op.as_str() {
            "group" => vec![case.shape[1]],
            _ => case.argument.clone(),
        };
        let weight = case.weight.as_deref().map(|w| var(w, &size));
        let bias = case.bias.as_deref().map(|b| var(b, &size));
        let parameters = (weight.as_deref(), bias.as_deref());
        let y = match case.op.as_str() {
            "group" => group_norm(&x, case.argument[0], parameters.0, parameters.1, case.eps),
            _ => layer_norm(&x, &case.argument, parameters.0, parameters.1, case.eps),
        };
        let y = y.unwrap();
        assert_values(&values(&y), &case.y, 1e-12);
        let grad = var(&case.grad, &case.shape);
        let loss = (y * grad.as_detached_tensor()).unwrap().sum_all().unwrap();
        let found = loss.backward().unwrap();
        assert_values(&values(found.get(&x).unwrap()), &case.dx, 1e-11);
        for (var, expected) in [(weight, case.dweight), (bias, case.dbias)] {
            if let (Some(var), Some(expected)) = (var, expected) {
                assert_values(&values(found.get(&var).unwrap()), &expected, 1e-11);
            }
        }
    }
}

fn empty_and_unfit_tensors() {
    for shape in [(0, 4, 3, 3), (2, 4, 0, 3), (2, 0, 3, 3)] {
        let inputs = [uniform(1, shape), uniform(2, shape.1)];
        let y = group_norm(&inputs[0], 2, Some(&inputs[1]), None, EPS).unwrap();
        assert_eq!(y.dims(), inputs[0].dims());
        let [dx, dw] = gradients(&inputs, |x| group_norm(&x[0], 2, Some(&x[1]), None, EPS))
            .try_into()
            .unwrap();
        assert_eq!(dx.dims(), inputs[0].dims());
        assert_eq!(values(&dw), vec![0.0; shape.1]);
    }
    let x = uniform(1, (2, 4, 3));
    assert!(group_norm(&x, 3, None, None, EPS).is_err());
    assert!(group_norm(&x, 0, None, None, EPS).is_err());
    assert!(group_norm(&uniform(1, 4), 2, None, None, EPS).is_err());
    assert!(group_norm(&x, 2, Some(&uniform(1, 3)), None, EPS).is_err());
    assert!(group_norm(&x.to_dtype(DType::U8).unwrap(), 2, None, None, EPS).is_err());
    assert!(layer_norm(&x, &[4], None, None, EPS).is_err());
    assert!(layer_norm(&x, &[], None, None, EPS).is_err());
    assert!(layer_norm(&x, &[2, 4, 3, 1], None, None, EPS).is_err());
    assert!(layer_norm(&x, &[3], None, Some(&uniform(1, 4)), EPS).is_err());
}
