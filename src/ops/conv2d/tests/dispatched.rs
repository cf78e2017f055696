//! The algorithms that dispatch chooses, against the definition.

use proptest::prelude::*;

use super::super::dispatch;
use super::super::element::Element;
use super::super::geometry::Geometry;
use super::super::inference::Inference;
use super::support::{Definition, IEEE, check, geometries};
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
