//! Depthwise convolutions by pixels and by channels, against the definition.

use proptest::prelude::*;

use super::super::depthwise;
use super::super::direct::Problem;
use super::super::element::Element;
use super::super::geometry::Geometry;
use super::support::{Definition, check, depthwise, geometries, levels, noise};
use crate::ops::storage::written;

pub(super) fn depthwise_passes<F: Element>(g: &Geometry, tolerance: f64) {
    let Definition {
        x,
        w,
        dy,
        y,
        dx,
        dw,
    } = Definition::<F>::new(g);
    for arch in levels() {
        let name = |pass| format!("depthwise {pass}, {arch:?}, {g:?}");
        // SAFETY: the passes write all of their results.
        unsafe {
            let got = written(y.len(), |y| depthwise::forward(arch, g, &x, &w, None, y));
            check::<F>(&name("forward"), &got, &y, tolerance);
            let got = written(dx.len(), |dx| {
                depthwise::input_grad(arch, g, &dy, &w, dx);
            });
            check::<F>(&name("input gradient"), &got, &dx, tolerance);
        }
        let mut got = vec![F::from_f64(f64::NAN); w.len()];
        depthwise::weight_grad(arch, g, &x, &dy, &mut got);
        check(&name("weight gradient"), &got, &dw, tolerance);
    }
    if let (Some(x), Some(w), Some(dy)) = (F::as_f32(&x), F::as_f32(&w), F::as_f32(&dy))
        && g.c_in == g.c_out
    {
        let bias = noise::<f32>(4, g.c_out);
        let biased = |(i, y): (usize, &f64)| y + f64::from(bias[i / g.out_plane() % g.c_out]);
        let biased: Vec<f64> = y.iter().enumerate().map(biased).collect();
        for (what, problem, want) in [
            ("forward", Problem::forward(g, x, w, None, None), &y),
            (
                "forward with bias",
                Problem::forward(g, x, w, Some(&bias), None),
                &biased,
            ),
            ("input gradient", Problem::input_grad(g, dy, w), &dx),
        ] {
            for arch in levels() {
                let convolve =
                    |to: &mut [_]| depthwise::channel_lanes::convolve(arch, &problem, to);
                // SAFETY: the pass writes all of its results.
                let got = unsafe { written(want.len(), convolve) };
                let name = format!("depthwise {what} by channels, {arch:?}, {g:?}");
                check::<f32>(&name, &got, want, tolerance);
            }
        }
    }
}

proptest! {
    #[test]
    fn depthwise_in_f32(g in geometries(0..6).prop_map(depthwise)) {
        depthwise_passes::<f32>(&g, 2e-5);
    }

    #[test]
    fn depthwise_in_f64(g in geometries(0..6).prop_map(depthwise)) {
        depthwise_passes::<f64>(&g, 1e-13);
    }
}
