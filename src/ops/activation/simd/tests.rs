//! The vector kernel of Mish on every instruction set of this machine.

#[path = "../../../../tests/ops/oracle.rs"]
mod oracle;

use super::{Mish, Pointwise};
use crate::simd::{Lanes, Real, Simd, WithSimd, dispatch};
use oracle::{distance, oracle, sweep};

/// Value and derivative of every element.
struct Evaluate<'a, F>(&'a [F]);

impl<F: Real> WithSimd for Evaluate<'_, F> {
    type Output = (Vec<F>, Vec<F>);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let mut values = vec![F::default(); self.0.len()];
        let mut derivatives = values.clone();
        let lanes = F::lanes::<S>();
        for (index, x) in self.0.chunks(lanes).enumerate() {
            let (start, end) = (index * lanes, index * lanes + x.len());
            let x = Lanes::partial_load(simd, x);
            Pointwise::<F>::value(Mish, x).partial_store(&mut values[start..end]);
            Pointwise::<F>::derivative(Mish, x).partial_store(&mut derivatives[start..end]);
        }
        (values, derivatives)
    }
}

/// Values and derivatives.
type Results<F> = (Vec<F>, Vec<F>);

/// The results on every instruction set that this machine has.
fn on_all_levels<F: Real>(x: &[F]) -> Vec<(&'static str, Results<F>)> {
    let mut results = vec![("scalar", Evaluate(x).with_simd(pulp::Scalar))];
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V3::try_new() {
            results.push(("avx2", Simd::vectorize(simd, Evaluate(x))));
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            results.push(("avx512", Simd::vectorize(simd, Evaluate(x))));
        }
    }
    results.push(("best", dispatch(Evaluate(x))));
    results
}

#[test]
fn f32_is_accurate_on_every_instruction_set() {
    let points = sweep(-126, 127, 200, -95.0, 25.0);
    let x: Vec<f32> = points.iter().map(|x| *x as f32).collect();
    for (level, (values, derivatives)) in on_all_levels(&x) {
        let (mut worst, mut worst_derivative) = ((0.0, 0.0), (0.0, 0.0));
        for ((x, y), dy) in x.iter().zip(values).zip(derivatives) {
            let (value, derivative) = oracle(f64::from(*x));
            if let Some(ulp) = distance(f64::from(y), value, 24, -126) {
                assert!(ulp <= 4.0, "{level}: mish({x:e}) = {y:e} is {ulp} ulp off");
                worst = if ulp > worst.0 { (ulp, *x) } else { worst };
            }
            let error = (f64::from(dy) - derivative).abs();
            let ulp = libm::ldexp(
                error,
                23 - (derivative.abs().log2().floor() as i32).max(-126),
            );
            assert!(
                ulp <= 6.0 || error <= 1e-7,
                "{level}: mish'({x:e}) = {dy:e} is {ulp} ulp, {error:e} off"
            );
            let counted = if error > 1e-8 { ulp } else { 0.0 };
            if counted > worst_derivative.0 {
                worst_derivative = (counted, *x);
            }
        }
        println!("f32 {level}: {worst:?} ulp, derivative {worst_derivative:?} ulp");
    }
}

#[test]
fn f64_is_accurate_on_every_instruction_set() {
    let x = sweep(-1022, 1023, 40, -735.0, 45.0);
    for (level, (values, derivatives)) in on_all_levels(&x) {
        let mut worst = (0.0, 0.0);
        for ((x, y), dy) in x.iter().zip(values).zip(derivatives) {
            let (value, derivative) = oracle(*x);
            if let Some(ulp) = distance(y, value, 53, -1022) {
                assert!(ulp <= 4.0, "{level}: mish({x:e}) = {y:e} is {ulp} ulp off");
                worst = if ulp > worst.0 { (ulp, *x) } else { worst };
            }
            let error = (dy - derivative).abs();
            let ulp = libm::ldexp(
                error,
                52 - (derivative.abs().log2().floor() as i32).max(-1022),
            );
            assert!(
                ulp <= 6.0 || error <= 1e-7 * 2f64.powi(-29),
                "{level}: mish'({x:e}) = {dy:e} is {ulp} ulp, {error:e} off"
            );
        }
        println!("f64 {level}: {worst:?} ulp");
    }
}

#[test]
fn limits_are_right() {
    fn check<F: Real + Into<f64>>(tail: f64) {
        let points = [
            f64::NEG_INFINITY,
            f64::INFINITY,
            f64::NAN,
            0.0,
            -0.0,
            1e30,
            -1e30,
            tail,
        ];
        let x: Vec<F> = points.map(F::from_f64).to_vec();
        for (level, (values, derivatives)) in on_all_levels(&x) {
            let y: Vec<f64> = values.into_iter().map(Into::into).collect();
            let dy: Vec<f64> = derivatives.into_iter().map(Into::into).collect();
            assert!(y[0] == 0.0 && y[0].is_sign_negative(), "{level}: {}", y[0]);
            assert_eq!(y[1], f64::INFINITY, "{level}");
            assert!(y[2].is_nan() && dy[2].is_nan(), "{level}");
            assert!(y[3] == 0.0 && y[3].is_sign_positive(), "{level}");
            assert!(y[4] == 0.0 && y[4].is_sign_negative(), "{level}");
            assert_eq!(y[5], x[5].to_f64(), "{level}");
            assert_eq!((y[6], dy[6]), (0.0, 0.0), "{level}");
            assert_eq!((dy[0].abs(), dy[1]), (0.0, 1.0), "{level}");
            assert!((dy[3] - 0.6).abs() < 1e-6, "{level}");
            assert_eq!(y[7], 0.0, "{level}");
        }
    }
    check::<f32>(-110.0);
    check::<f64>(-800.0);
}
