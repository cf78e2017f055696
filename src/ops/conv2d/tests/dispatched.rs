//! The algorithms that dispatch chooses, against the definition.

use proptest::prelude::*;

use super::super::dispatch;
use super::super::element::Element;
use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::{Conv2dParams, Geometry};
use super::super::inference::Inference;
use super::support::{Definition, IEEE, check, geometries, geometry};
use super::winograd::{definition, error, normal};
use crate::ops::storage::written;

/// All passes by the algorithms that dispatch chooses, against the definition.
pub(super) fn dispatched_passes<F: Element>(g: &Geometry, tolerance: f64) {
    let definition = Definition::<F>::new(g);
    let (bias, y) = definition.with_bias(g);
    let Definition {
        x, w, dy, dx, dw, ..
    } = definition;
    let mut db = vec![0.0; g.c_out];
    for (i, dy) in dy.iter().enumerate() {
        db[i / g.out_plane() % g.c_out] += dy.to_f64();
    }
    // SAFETY: the passes write all of their results.
    unsafe {
        let got = written(y.len(), |y| {
            dispatch::forward(g, &x, &w, Some(&bias), Inference::default(), y)
        });
        check::<F>(&format!("forward, {g:?}"), &got, &y, tolerance);
        let got = written(dx.len(), |dx| dispatch::input_grad(g, IEEE, &dy, &w, dx));
        check::<F>(&format!("input gradient, {g:?}"), &got, &dx, tolerance);
    }
    let mut got = vec![F::from_f64(f64::NAN); w.len()];
    dispatch::weight_grad(g, IEEE, &x, &dy, &mut got);
    check(&format!("weight gradient, {g:?}"), &got, &dw, tolerance);
    let got = dispatch::bias_grad(g, &dy);
    check(&format!("bias gradient, {g:?}"), &got, &db, tolerance);
}

proptest! {
    #[test]
    fn dispatched_in_f32(g in geometries(0..6)) {
        dispatched_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn dispatched_in_f64(g in geometries(0..6)) {
        dispatched_passes::<f64>(&g, 1e-13);
    }
}

/// With enough channels, factors are rounded to bfloat16, and sums are not. The error is relative to sums of
/// products with random signs.
#[test]
fn bf16_has_the_error_of_its_factors() {
    let precision = Fp32Precision::Bf16;
    // (kernel, stride, groups): not 3x3 with stride 1, where Winograd's algorithm amplifies the error.
    for ((kernel, stride, groups), n) in [(1, 1, 1), (1, 2, 1), (2, 1, 1), (3, 2, 2), (5, 1, 1)]
        .into_iter()
        .flat_map(|case| [2, 5].map(|n| (case, n)))
    {
        let params = Conv2dParams {
            stride: (stride, stride),
            groups,
            ..Conv2dParams::default()
        };
        let g = geometry((n, 33, 36), (9, 10), (kernel, kernel), params).expect("it fits");
        let (x, dy) = (normal(1, g.in_len(), 1.0), normal(2, g.out_len(), 1.0));
        let w = normal(3, g.weight_len(), 0.1);
        // SAFETY: the passes write all of their results.
        let (y, dx) = unsafe {
            let inference = Inference {
                precision,
                ..Inference::default()
            };
            (
                written(dy.len(), |y| {
                    dispatch::forward::<f32>(&g, &x, &w, None, inference, y)
                }),
                written(x.len(), |dx| {
                    dispatch::input_grad::<f32>(&g, precision, &dy, &w, dx)
                }),
            )
        };
        let mut dw = vec![f32::NAN; w.len()];
        dispatch::weight_grad(&g, precision, &x, &dy, &mut dw);
        for (got, (want, squares)) in [y, dx, dw].iter().zip(definition(&g, [&x, &w, &dy])) {
            let typical = (squares / want.len() as f64).sqrt();
            let error = error(got, &want) / typical;
            // Two factors with an error of up to 2^-9 each.
            assert!((0.0005..0.004).contains(&error), "{error} for {g:?}");
        }
    }
}
