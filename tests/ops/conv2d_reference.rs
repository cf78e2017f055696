//! Convolutions and their gradients against stored results of PyTorch.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Conv2dParams, conv2d};

use crate::support::{device, real, values};

test_all_devices_with_products! {
    values_and_gradients_agree_with_pytorch,
    empty_convolutions_agree_with_pytorch,
}

#[derive(serde::Deserialize)]
struct Case {
    x_shape: Vec<usize>,
    w_shape: Vec<usize>,
    stride: (usize, usize),
    padding: (usize, usize),
    dilation: (usize, usize),
    groups: usize,
    y_shape: Vec<usize>,
    x: Vec<f64>,
    w: Vec<f64>,
    b: Vec<f64>,
    dy: Vec<f64>,
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
}

fn compare(name: &str, got: &Tensor, want: &[f64], tolerance: f64) -> Result<()> {
    let got = values(got);
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{name}[{i}] is {got}, but {want} in PyTorch"
        );
    }
    Ok(())
}

fn values_and_gradients_agree_with_pytorch() -> Result<()> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../reference/conv2d.json")).unwrap();
    assert!(cases.len() >= 9);
    for (dtype, tolerance) in [(DType::F64, 2e-12), (DType::F32, 1e-5)] {
        // The device may lack f64.
        if dtype == DType::F64 && real() != dtype {
            continue;
        }
        for (i, case) in cases.iter().enumerate() {
            let tensor = |values: &[f64], shape: &[usize]| {
                let x = Tensor::from_slice(values, shape, &Device::Cpu)?;
                x.to_dtype(dtype)?.to_device(&device())
            };
            let x = Var::from_tensor(&tensor(&case.x, &case.x_shape)?)?;
            let w = Var::from_tensor(&tensor(&case.w, &case.w_shape)?)?;
            let b = Var::from_tensor(&tensor(&case.b, &case.w_shape[..1])?)?;
            let params = Conv2dParams {
                stride: case.stride,
                padding: case.padding,
                dilation: case.dilation,
                groups: case.groups,
            };
            let y = conv2d(&x, &w, Some(&b), &params)?;
            assert_eq!(y.dims(), case.y_shape, "case {i}");
            let name = |of| format!("{of} of case {i} in {dtype:?}");
            compare(&name("y"), &y, &case.y, tolerance)?;
            let gradients = (y * tensor(&case.dy, &case.y_shape)?)?.backward()?;
            for (of, var, want) in [
                ("dx", &x, &case.dx),
                ("dw", &w, &case.dw),
                ("db", &b, &case.db),
            ] {
                compare(&name(of), gradients.get(var).unwrap(), want, tolerance)?;
            }
        }
    }
    Ok(())
}

#[derive(Debug, serde::Deserialize)]
struct EmptyCase {
    x_shape: Vec<usize>,
    w_shape: Vec<usize>,
    padding: usize,
    groups: usize,
    /// None where PyTorch fails.
    y_shape: Option<Vec<usize>>,
}

/// The gradients of these cases are all zero in PyTorch.
fn empty_convolutions_agree_with_pytorch() -> Result<()> {
    let cases = include_str!("../reference/conv2d_empty.json");
    let cases: Vec<EmptyCase> = serde_json::from_str(cases).unwrap();
    assert!(cases.len() >= 23);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        // The device may lack f64.
        if dtype == DType::F64 && real() != dtype {
            continue;
        }
        for case in &cases {
            let ones = |shape: &[usize]| {
                let x = Tensor::ones(shape, dtype, &Device::Cpu)?;
                Var::from_tensor(&x.to_device(&device())?)
            };
            let inputs = [
                ones(&case.x_shape)?,
                ones(&case.w_shape)?,
                ones(&case.w_shape[..1])?,
            ];
            let [x, w, b] = &inputs;
            let params = Conv2dParams {
                padding: (case.padding, case.padding),
                groups: case.groups,
                ..Conv2dParams::default()
            };
            let (y, want) = match (conv2d(x, w, Some(b), &params), &case.y_shape) {
                (Ok(y), Some(want)) => (y, want),
                (Err(_), None) => continue,
                (y, _) => panic!("{case:?} gives {y:?}"),
            };
            assert_eq!(y.dims(), want, "{case:?} in {dtype:?}");
            let (_, (), gradients) =
                value_and_grad(|| Ok((conv2d(x, w, Some(b), &params)?.sum_all()?, ())))?;
            for input in &inputs {
                let gradient = gradients.get(input).unwrap();
                assert_eq!(gradient.dims(), input.dims(), "{case:?} in {dtype:?}");
                assert!(values(gradient).iter().all(|v| *v == 0.0), "{case:?}");
            }
        }
    }
    Ok(())
}
