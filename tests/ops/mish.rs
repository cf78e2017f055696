//! Mish: accuracy over all magnitudes, limits, layouts and types. The tests of the vector kernel on
//! every instruction set are in `src/ops/activation/simd/tests.rs`.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::ops::activation::activation_gradient;
use candle_mish::{Activation, mish, mish_inplace};
use half::{bf16, f16};

use crate::oracle::{Double, distance, oracle, sweep};

use crate::support::{device, real, values};

test_all_devices! {
    subnormal_results_fade_out,
    halves_are_rounded_from_single_precision,
    every_length_and_layout,
    in_place_changes_the_view_alone,
    gradients_of_any_layout_and_type,
    integers_are_refused,
    the_op_is_accurate_over_all_magnitudes,
    limits_of_the_op_are_right,
    more_elements_than_32_bits_count,
}

#[test]
fn the_oracle_agrees_with_known_values() {
    // From mpmath with 50 digits.
    let known = [
        (1.0, 0.865_098_388_267_310_3, 1.049_036_220_099_792_2),
        (-2.0, -0.252_501_482_695_708_9, -0.108_355_092_420_393_95),
        (0.5, 0.375_245_211_304_895_1, 0.886_424_375_357_727_3),
    ];
    for (x, value, derivative) in known {
        let ((Double(y, _), k), dy) = oracle(x);
        assert!((y * 2f64.powi(k) - value).abs() <= 2e-16, "{x}");
        assert!((dy - derivative).abs() <= 3e-16, "{x}");
    }
}

fn subnormal_results_fade_out() {
    for x in [-92.0f32, -96.0, -100.0, -103.0] {
        let y = mish(&Tensor::new(&[x], &device()).unwrap()).unwrap();
        let y = f64::from(y.to_vec1::<f32>().unwrap()[0]);
        let exact = f64::from(x) * f64::from(x).exp();
        assert!(
            (y - exact).abs() <= 2.0 * 2f64.powi(-149),
            "{x}: {y:e} {exact:e}"
        );
    }
    // Subnormal arguments: mish(x) is 0.6 x there.
    let x = 1e-40f32;
    let y = mish(&Tensor::new(&[x], &device()).unwrap()).unwrap();
    let y = f64::from(y.to_vec1::<f32>().unwrap()[0]);
    assert!((y - 0.6 * f64::from(x)).abs() <= 2f64.powi(-149), "{y:e}");
}

fn halves_are_rounded_from_single_precision() -> Result<()> {
    let device = device();
    // The halves on a GPU use another exponential, which may round to the neighbour.
    let near = |y: u16, expected: u16| y.abs_diff(expected) <= u16::from(!device.is_cpu());
    for bits in (0..=u16::MAX).collect::<Vec<_>>().chunks(4099) {
        let x: Vec<f16> = bits.iter().map(|b| f16::from_bits(*b)).collect();
        let wide: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        let y = mish(&Tensor::new(x.as_slice(), &device)?)?.to_vec1::<f16>()?;
        let expected = mish(&Tensor::new(wide.as_slice(), &device)?)?.to_vec1::<f32>()?;
        for ((x, y), expected) in x.iter().zip(y).zip(expected) {
            let expected = f16::from_f32(expected);
            assert!(
                near(y.to_bits(), expected.to_bits()) || (y.is_nan() && x.is_nan()),
                "{x}: {y} {expected}"
            );
        }
        let x: Vec<bf16> = bits.iter().map(|b| bf16::from_bits(*b)).collect();
        let wide: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
        let y = mish(&Tensor::new(x.as_slice(), &device)?)?.to_vec1::<bf16>()?;
        let expected = mish(&Tensor::new(wide.as_slice(), &device)?)?.to_vec1::<f32>()?;
        for ((x, y), expected) in x.iter().zip(y).zip(expected) {
            let expected = bf16::from_f32(expected);
            assert!(
                near(y.to_bits(), expected.to_bits()) || (y.is_nan() && x.is_nan()),
                "{x}: {y} {expected}"
            );
        }
    }
    Ok(())
}

fn ramp(shape: &[usize]) -> Result<Tensor> {
    let count = shape.iter().product::<usize>();
    let x: Vec<f32> = (0..count).map(|i| (i as f32 * 0.731).sin() * 6.0).collect();
    Tensor::from_vec(x, shape, &device())
}

fn expected(x: &Tensor) -> Result<Vec<f32>> {
    let x = x.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
    let y = |x: &f32| {
        let ((Double(y, _), k), _) = oracle(f64::from(*x));
        (y * 2f64.powi(k)) as f32
    };
    Ok(x.iter().map(y).collect())
}

fn assert_close(y: &Tensor, expected: &[f32]) -> Result<()> {
    let y = y.flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(y.len(), expected.len());
    for (y, expected) in y.iter().zip(expected) {
        assert!(
            (y - expected).abs() <= 4.0 * f32::EPSILON * expected.abs(),
            "{y} {expected}"
        );
    }
    Ok(())
}

fn every_length_and_layout() -> Result<()> {
    for len in (0..70).chain([16_383, 16_384, 16_385, 50_001]) {
        let x = ramp(&[len])?;
        assert_close(&mish(&x)?, &expected(&x)?)?;
        if len > 3 {
            let x = x.narrow(0, 1, len - 3)?;
            assert_close(&mish(&x)?, &expected(&x)?)?;
        }
    }
    let x = ramp(&[3, 4, 5, 7])?;
    let views = [
        x.transpose(1, 3)?,
        x.narrow(2, 1, 3)?,
        x.narrow(0, 1, 1)?.permute((3, 0, 2, 1))?,
        x.narrow(0, 0, 1)?.broadcast_as((3, 4, 5, 7))?,
        x.narrow(1, 2, 0)?,
        ramp(&[])?,
    ];
    for x in views {
        let y = mish(&x)?;
        assert_eq!(y.dims(), x.dims());
        assert!(y.is_contiguous());
        assert_close(&y, &expected(&x)?)?;
    }
    Ok(())
}

fn in_place_changes_the_view_alone() -> Result<()> {
    for transposed in [false, true] {
        let x = ramp(&[6, 9])?.copy()?;
        let before = x.to_vec2::<f32>()?;
        let view = x.narrow(0, 2, 3)?;
        let view = if transposed { view.t()? } else { view };
        let wanted = expected(&view)?;
        mish_inplace(&view)?;
        assert_close(&view.contiguous()?, &wanted)?;
        let after = x.to_vec2::<f32>()?;
        assert_eq!(before[..2], after[..2]);
        assert_eq!(before[5..], after[5..]);
    }
    let variable = Var::from_tensor(&ramp(&[3])?)?;
    assert!(mish_inplace(variable.as_tensor()).is_err());
    Ok(())
}

fn gradients_of_any_layout_and_type() -> Result<()> {
    for dtype in [DType::F32, real(), DType::F16, DType::BF16] {
        let x = Var::from_tensor(&ramp(&[4, 6, 5])?.to_dtype(dtype)?)?;
        let weight = ramp(&[5, 6, 4])?.to_dtype(dtype)?;
        // The gradient that reaches mish is a transposed view of `weight`, then a broadcast one.
        let y = mish(x.as_tensor())?;
        let loss = (y.transpose(0, 2)? * &weight)?.sum_all()?;
        let gradient = loss.backward()?.remove(x.as_tensor()).unwrap();
        let (gradient, x) = (values(&gradient), values(&x));
        let weight = values(&weight.transpose(0, 2)?);
        let tolerance = match dtype {
            DType::F64 => 1e-13,
            DType::F32 => 1e-6,
            DType::F16 => 1e-3,
            _ => 8e-3,
        };
        for ((gradient, x), weight) in gradient.iter().zip(x).zip(weight) {
            let expected = weight * oracle(x).1;
            let error = (gradient - expected).abs();
            assert!(
                error <= tolerance * expected.abs().max(1.0),
                "{dtype:?} {x}"
            );
        }
    }
    Ok(())
}

fn integers_are_refused() {
    let x = Tensor::new(&[1u32, 2], &device()).unwrap();
    let error = mish(&x).unwrap_err().to_string();
    assert!(error.contains("mish is not defined for U32"), "{error}");
}

/// Value and derivative of every element by the op on the device.
fn through_the_op(x: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let x = x.to_device(&device())?;
    let derivative = activation_gradient(&x, &x.ones_like()?, &Activation::Mish)?;
    Ok((values(&mish(&x)?), values(&derivative)))
}

fn the_op_is_accurate_over_all_magnitudes() -> Result<()> {
    // Significant bits, the smallest exponent, the error of the derivative around its zero.
    let single = (DType::F32, 24, -126, 1e-7);
    let double = (DType::F64, 53, -1022, 1e-7 * 2f64.powi(-29));
    let kinds = [single, double];
    for (dtype, bits, min_exponent, around_zero) in &kinds[..1 + usize::from(has_f64())] {
        let (steps, low, high) = match dtype {
            DType::F32 => (40, -95.0, 25.0),
            _ => (8, -735.0, 45.0),
        };
        let points = sweep(*min_exponent, 1 - min_exponent, steps, low, high);
        let x = Tensor::new(points.as_slice(), &Device::Cpu)?.to_dtype(*dtype)?;
        let (value, derivative) = through_the_op(&x)?;
        let mut worst = 0.0f64;
        for ((x, y), dy) in values(&x).into_iter().zip(value).zip(derivative) {
            let (expected, slope) = oracle(x);
            if let Some(ulp) = distance(y, expected, *bits, *min_exponent) {
                assert!(ulp <= 4.0, "mish({x:e}) = {y:e} is {ulp} ulp off");
                worst = worst.max(ulp);
            }
            let error = (dy - slope).abs();
            let exponent = (slope.abs().log2().floor() as i32).max(*min_exponent);
            let ulp = libm::ldexp(error, bits - 1 - exponent);
            assert!(
                ulp <= 6.0 || error <= *around_zero,
                "mish'({x:e}) = {dy:e} is {ulp} ulp, {error:e} off"
            );
        }
        println!("{dtype:?}: {worst} ulp");
    }
    Ok(())
}

fn has_f64() -> bool {
    real() == DType::F64
}

fn limits_of_the_op_are_right() -> Result<()> {
    let points = [
        f64::NEG_INFINITY,
        f64::INFINITY,
        f64::NAN,
        0.0,
        -0.0,
        1e30,
        -1e30,
    ];
    for dtype in [DType::F32, real(), DType::BF16] {
        let x = Tensor::new(&points, &Device::Cpu)?.to_dtype(dtype)?;
        let (y, dy) = through_the_op(&x)?;
        assert!(
            y[0] == 0.0 && y[0].is_sign_negative(),
            "{dtype:?}: {}",
            y[0]
        );
        assert_eq!(y[1], f64::INFINITY, "{dtype:?}");
        assert!(y[2].is_nan() && dy[2].is_nan(), "{dtype:?}");
        assert!(y[3] == 0.0 && y[3].is_sign_positive(), "{dtype:?}");
        assert!(y[4] == 0.0 && y[4].is_sign_negative(), "{dtype:?}");
        assert_eq!(y[5], values(&x)[5], "{dtype:?}");
        assert_eq!((y[6], dy[6]), (0.0, 0.0), "{dtype:?}");
        assert_eq!((dy[0].abs(), dy[1]), (0.0, 1.0), "{dtype:?}");
        assert!((dy[3] - 0.6).abs() < 2e-3, "{dtype:?}");
    }
    Ok(())
}

/// On a GPU with `MISH_TEST_LARGE`: 4 GiB of f16, three times.
fn more_elements_than_32_bits_count() -> Result<()> {
    if device().is_cpu() || std::env::var_os("MISH_TEST_LARGE").is_none() {
        println!("skipped: it runs on a GPU where MISH_TEST_LARGE is set");
        return Ok(());
    }
    let count = (1usize << 31) + 37;
    let row = ramp(&[1 << 10])?.to_dtype(DType::F16)?;
    let rows = count.div_ceil(1 << 10);
    let x = row.broadcast_as((rows, 1 << 10))?.contiguous()?;
    let x = x.flatten_all()?.narrow(0, 0, count)?;
    let expected = values(&mish(&row)?);
    let slopes = values(&activation_gradient(
        &row,
        &row.ones_like()?,
        &Activation::Mish,
    )?);
    let ends = [0, count - 3000];
    let check = |y: &Tensor, expected: &[f64]| -> Result<()> {
        for start in ends {
            let part = values(&y.narrow(0, start, 3000)?);
            for (i, y) in part.into_iter().enumerate() {
                assert_eq!(
                    y,
                    expected[(start + i) % (1 << 10)],
                    "element {}",
                    start + i
                );
            }
        }
        Ok(())
    };
    check(&mish(&x)?, &expected)?;
    let ones = Tensor::ones(count, DType::F16, &device())?;
    check(&activation_gradient(&x, &ones, &Activation::Mish)?, &slopes)
}
