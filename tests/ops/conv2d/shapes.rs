//! Shapes of networks, batches of one and none, strided inputs, finite differences, and Candle's values.

use candle_core::{D, DType, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Conv2dParams, conv2d};

use super::case::{Case, assert_close, check, flat, noise, oracle, plain};
use crate::support::{self, made, real};

test_all_devices_with_products! {
    halves_are_rounded_once,
    stages_of_the_networks,
    batches_of_one_and_none,
    strided_inputs_are_read_correctly,
    a_broadcast_gradient_is_read_correctly,
    finite_differences,
    the_input_gradient_is_not_computed_for_a_plain_input,
    odd_sizes_under_a_stride_have_a_gradient_where_candle_fails,
    groups_agree_with_candle,
}

fn halves_are_rounded_once() -> Result<()> {
    for stride in [(1, 1), (2, 1)] {
        let mut case = plain(2, 5, 7, (9, 11), 3);
        case.bias = true;
        case.params.stride = stride;
        check(&case, DType::F16, 1.0 / 2048.0)?;
        check(&case, DType::BF16, 1.0 / 256.0)?;
    }
    Ok(())
}

fn stages_of_the_networks() -> Result<()> {
    let mut cases = vec![
        plain(2, 3, 16, (32, 32), 3),
        plain(5, 16, 16, (32, 32), 3),
        plain(5, 32, 32, (16, 16), 3),
        plain(5, 64, 64, (8, 8), 3),
        plain(1, 64, 64, (56, 56), 3),
        plain(3, 256, 512, (4, 4), 3),
        plain(1, 512, 512, (2, 2), 3),
        plain(3, 64, 48, (16, 16), 1),
        plain(1, 3, 64, (64, 48), 7),
    ];
    for (c_in, c_out, k) in [(16, 32, 3), (16, 32, 1), (40, 72, 3)] {
        let mut strided = plain(3, c_in, c_out, (32, 32), k);
        strided.params.stride = (2, 2);
        cases.push(strided);
        strided.size = (15, 17);
        cases.push(strided);
    }
    for case in &cases {
        check(case, DType::F32, 2e-6)?;
    }
    Ok(())
}

fn batches_of_one_and_none() -> Result<()> {
    check(&plain(1, 8, 8, (12, 12), 3), DType::F32, 2e-6)?;
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        check(&plain(0, 3, 4, (5, 5), 3), dtype, 0.0)?;
        check(&plain(0, 16, 16, (8, 8), 3), dtype, 0.0)?;
        check(&plain(0, 16, 40, (8, 8), 1), dtype, 0.0)?;
        let mut grouped = plain(0, 4, 6, (8, 8), 3);
        grouped.params.groups = 2;
        grouped.bias = true;
        check(&grouped, dtype, 0.0)?;
        let mut depthwise = plain(0, 1, 1, (5, 5), 3);
        depthwise.params.groups = 4;
        check(&depthwise, dtype, 0.0)?;
    }
    Ok(())
}

fn strided_inputs_are_read_correctly() -> Result<()> {
    let base = made(noise(1, 2 * 9 * 10 * 7), (2, 9, 10, 7));
    let weight = made(noise(2, 6 * 4 * 3 * 3), (3, 3, 4, 6));
    let params = Conv2dParams {
        padding: (1, 1),
        ..Conv2dParams::default()
    };
    for dtype in [real(), DType::F32, DType::F16] {
        let base = base.to_dtype(dtype)?;
        let views = [
            base.permute((0, 3, 1, 2))?.narrow(1, 2, 4)?,
            base.narrow(1, 3, 4)?,
            base.narrow(1, 0, 4)?.transpose(2, 3)?,
            base.narrow(2, 1, 4)?
                .narrow(3, 2, 1)?
                .broadcast_as((2, 9, 4, 5))?
                .transpose(1, 2)?,
        ];
        let weight = weight.to_dtype(dtype)?.permute((3, 2, 0, 1))?;
        let weight = weight.narrow(0, 1, 5)?;
        let bias = made(noise(3, 10), (5, 2)).to_dtype(dtype)?;
        let bias = bias.narrow(1, 1, 1)?.squeeze(1)?;
        for x in &views {
            let got = conv2d(x, &weight, Some(&bias), &params)?;
            let want = conv2d(
                &x.contiguous()?,
                &weight.contiguous()?,
                Some(&bias.contiguous()?),
                &params,
            )?;
            assert_eq!(flat(&got)?, flat(&want)?);
        }
    }
    Ok(())
}

fn a_broadcast_gradient_is_read_correctly() -> Result<()> {
    let x = Var::from_tensor(&made(noise(1, 2 * 3 * 6 * 6), (2, 3, 6, 6)))?;
    let w = Var::from_tensor(&made(noise(2, 4 * 3 * 3 * 3), (4, 3, 3, 3)))?;
    let b = Var::from_tensor(&made(noise(3, 4), 4))?;
    let params = Conv2dParams::default();
    let gradients = conv2d(&x, &w, Some(&b), &params)?.sum_all()?.backward()?;
    let case = Case {
        bias: true,
        params,
        ..plain(2, 3, 4, (6, 6), 3)
    };
    let mut values = case.values();
    values[3].fill(1.0);
    let want = oracle(&case, &values);
    for (t, want) in [(&x, &want.dx), (&w, &want.dw), (&b, &want.db)] {
        let got = gradients.get(t).map(flat).transpose()?.unwrap_or_default();
        let tolerance = if real() == DType::F32 { 2e-6 } else { 1e-13 };
        assert_close("gradient", &case, &got, want, tolerance);
    }
    Ok(())
}

fn finite_differences() -> Result<()> {
    // Finite differences in f32 are too inaccurate.
    if real() == DType::F32 {
        return Ok(());
    }
    let params = Conv2dParams {
        stride: (2, 1),
        padding: (1, 2),
        dilation: (1, 2),
        groups: 2,
    };
    let x = Var::from_tensor(&made(noise(1, 2 * 4 * 5 * 6), (2, 4, 5, 6)))?;
    let w = Var::from_tensor(&made(noise(2, 6 * 2 * 3 * 2), (6, 2, 3, 2)))?;
    let b = Var::from_tensor(&made(noise(3, 6), 6))?;
    // The square makes the gradient depend on y.
    let loss =
        |x: &Tensor, w: &Tensor, b: &Tensor| conv2d(x, w, Some(b), &params)?.sqr()?.sum_all();
    let (_, _, gradients) = value_and_grad(|| Ok((loss(&x, &w, &b)?, ())))?;
    let step = 1e-5;
    for (which, var) in [&x, &w, &b].into_iter().enumerate() {
        let gradient = gradients
            .get(var)
            .map(flat)
            .transpose()?
            .unwrap_or_default();
        let values = flat(var)?;
        assert_eq!(gradient.len(), values.len());
        for i in (0..values.len()).step_by(3) {
            let at = |delta: f64| {
                let mut v = values.clone();
                v[i] += delta;
                let moved = made(v, var.shape());
                let [x, w, b] = [&x, &w, &b].map(|t| t.as_tensor().clone());
                let (x, w, b) = match which {
                    0 => (moved, w, b),
                    1 => (x, moved, b),
                    _ => (x, w, moved),
                };
                loss(&x, &w, &b)?.to_scalar::<f64>()
            };
            let slope = (at(step)? - at(-step)?) / (2.0 * step);
            assert!(
                (slope - gradient[i]).abs() <= 1e-7 * slope.abs().max(1.0),
                "argument {which}[{i}]: {} against {slope}",
                gradient[i]
            );
        }
    }
    Ok(())
}

fn the_input_gradient_is_not_computed_for_a_plain_input() -> Result<()> {
    let x = made(noise(1, 3 * 25), (1, 3, 5, 5));
    let w = Var::from_tensor(&made(noise(2, 2 * 3 * 9), (2, 3, 3, 3)))?;
    let (_, _, gradients) = value_and_grad(|| {
        Ok((
            conv2d(&x, &w, None, &Conv2dParams::default())?.sum_all()?,
            (),
        ))
    })?;
    assert!(gradients.get(&w).is_some());
    assert!(gradients.get(&x).is_none());
    Ok(())
}

/// Candle takes the output padding of its input gradient from the height for both axes.
fn odd_sizes_under_a_stride_have_a_gradient_where_candle_fails() -> Result<()> {
    let mut case = plain(2, 3, 4, (7, 8), 3);
    case.params.stride = (2, 2);
    let x = Var::from_tensor(&made(noise(1, 2 * 3 * 7 * 8), (2, 3, 7, 8)))?;
    let w = Var::from_tensor(&made(noise(2, 4 * 3 * 9), (4, 3, 3, 3)))?;
    let candles = x.conv2d(&w, 1, 2, 1, 1)?.sum_all()?.backward();
    assert!(
        candles.is_err(),
        "Candle computes it now: this test can be removed"
    );
    check(&case, DType::F64, 1e-13)?;
    check(&case, DType::F32, 2e-6)
}

/// Candle's time grows with the square of the groups, but its values are correct.
fn groups_agree_with_candle() -> Result<()> {
    let x = made(noise(1, 2 * 12 * 49), (2, 12, 7, 7));
    for groups in [1, 2, 3, 6, 12] {
        let w = made(noise(2, 24 * 12 / groups * 9), (24, 12 / groups, 3, 3));
        let params = Conv2dParams {
            padding: (1, 1),
            groups,
            ..Conv2dParams::default()
        };
        let difference = (conv2d(&x, &w, None, &params)? - x.conv2d(&w, 1, 1, 1, groups)?)?;
        let largest = difference.abs()?.flatten_all()?.max(D::Minus1)?;
        let largest = support::values(&largest)[0];
        let least = if real() == DType::F32 { 1e-5 } else { 1e-12 };
        assert!(largest < least, "groups = {groups}: {largest}");
    }
    Ok(())
}
