//! Infinities and NaN: where they go, and that nothing of them is kept.

use std::mem::MaybeUninit;

use proptest::prelude::*;

use super::super::direct::Problem;
use super::super::geometry::Geometry;
use super::super::{depthwise, weight_grad};
use super::depthwise::depthwise_passes;
use super::direct::{Convolve, DIRECT};
use super::support::{PRECISIONS, depthwise, geometries, levels, noise, plain, products};
use super::weight_gradients::weight_grads_by_pixels;
use crate::ops::storage::written;

/// One value of x, and one of dy, is infinite or NaN. Then exactly the outputs and the input
/// gradients that the definition computes from it are infinite or NaN.
fn one_value_that_is_not_finite(g: &Geometry, at: usize, value: f32) {
    let w = vec![1.0; g.weight_len()];
    let (mut x, mut dy) = (noise::<f32>(1, g.in_len()), noise::<f32>(2, g.out_len()));
    let (bad_x, bad_dy) = (at % x.len(), at % dy.len());
    (x[bad_x], dy[bad_dy]) = (value, value);
    let (mut y, mut dx) = (vec![true; dy.len()], vec![true; x.len()]);
    products(g, |i, _, o| {
        y[o] &= i != bad_x;
        dx[i] &= o != bad_dy;
    });
    let finite = |values: Vec<f32>| values.iter().map(|v| v.is_finite()).collect::<Vec<_>>();
    let depthwise: [(&str, Convolve, Convolve); 2] = [
        (
            "depthwise by pixels",
            |arch, g, x, w, y| depthwise::forward(arch, g, x, w, None, y),
            depthwise::input_grad,
        ),
        (
            "depthwise by channels",
            |arch, g, x, w, y| {
                depthwise::channel_lanes::convolve(arch, &Problem::forward(g, x, w, None, None), y);
            },
            |arch, g, dy, w, dx| {
                depthwise::channel_lanes::convolve(arch, &Problem::input_grad(g, dy, w), dx);
            },
        ),
    ];
    let algorithms = match (g.is_depthwise(), g.c_in == g.c_out) {
        (true, true) => &depthwise[..],
        (true, false) => &depthwise[..1],
        (false, _) => &DIRECT,
    };
    for arch in levels() {
        for (lanes, forward, input_grad) in algorithms {
            // SAFETY: the passes write all of their results.
            let (got_y, got_dx) = unsafe {
                (
                    written(y.len(), |y| forward(arch, g, &x, &w, y)),
                    written(dx.len(), |dx| input_grad(arch, g, &dy, &w, dx)),
                )
            };
            let name = format!("{lanes}, {arch:?}, {g:?}, {value}");
            assert_eq!(finite(got_y), y, "forward, {name} at {bad_x}");
            assert_eq!(finite(got_dx), dx, "input gradient, {name} at {bad_dy}");
        }
    }
}

/// One value of x or of dy is infinite or NaN. Then channel lanes give infinity or NaN for exactly
/// the weights for which the definition does. (Pixel lanes may give it for more.)
fn weight_grads_that_are_not_finite(g: &Geometry, at: usize, value: f32) {
    let (mut x, mut dy) = (noise::<f32>(1, g.in_len()), noise::<f32>(2, g.out_len()));
    // Zero times infinity is not finite either; without zeros the counts agree.
    let one_for_zero = |v: &mut f32| *v = if *v == 0.0 { 1.0 } else { *v };
    x.iter_mut().chain(&mut dy).for_each(one_for_zero);
    let (bad_x, bad_dy) = (at % x.len(), at % dy.len());
    let mut want = [vec![true; g.weight_len()], vec![true; g.weight_len()]];
    products(g, |i, k, o| {
        want[0][k] &= i != bad_x;
        want[1][k] &= o != bad_dy;
    });
    let (mut bad, mut worse) = (x.clone(), dy.clone());
    (bad[bad_x], worse[bad_dy]) = (value, value);
    for (arch, precision) in levels()
        .into_iter()
        .flat_map(|a| PRECISIONS.map(|p| (a, p)))
    {
        for (x, dy, want) in [(&bad, &dy, &want[0]), (&x, &worse, &want[1])] {
            let mut dw = vec![0.0; want.len()];
            weight_grad::channel_lanes::weight_grad(arch, precision, g, x, dy, &mut dw);
            let got: Vec<bool> = dw.iter().map(|v| v.is_finite()).collect();
            assert_eq!(
                &got, want,
                "{precision:?}, {arch:?}, {g:?}, {value} at {at}"
            );
        }
    }
}

proptest! {
    #[test]
    fn weight_gradients_that_are_not_finite(
        g in geometries(1..6),
        at in any::<usize>(),
        value in prop_oneof![Just(f32::INFINITY), Just(f32::NAN)],
    ) {
        weight_grads_that_are_not_finite(&g, at, value);
    }

    #[test]
    fn what_is_not_finite_stays_where_it_belongs(
        g in geometries(1..6),
        channelwise in any::<bool>(),
        at in any::<usize>(),
        value in prop_oneof![Just(f32::INFINITY), Just(f32::NAN)],
    ) {
        let g = if channelwise { depthwise(g) } else { g };
        one_value_that_is_not_finite(&g, at, value);
    }
}

/// The zeros that pad a row are multiplied too, so the workspace must not keep values of an earlier
/// call.
#[test]
fn workspaces_keep_nothing_of_a_call_with_infinities() {
    let wide = plain((1, 3, 4, 1), (21, 19), 5, 1);
    let x = vec![f32::INFINITY; wide.in_len()];
    let dy = vec![f32::NAN; wide.out_len()];
    let mut dw = vec![0.0; wide.weight_len()];
    for arch in levels() {
        weight_grad::pixel_lanes::weight_grad(arch, &wide, &x, &dy, &mut dw);
    }
    weight_grads_by_pixels::<f32>(&plain((1, 2, 3, 1), (7, 5), 3, 1), 2e-5);
    weight_grads_by_pixels::<f32>(&plain((3, 2, 3, 1), (9, 17), 3, 2), 2e-5);
    let wide = plain((1, 3, 3, 3), (21, 19), 5, 1);
    let dy = vec![f32::NAN; wide.out_len()];
    let (mut dw, w) = (vec![0.0; 75], vec![1.0; 75]);
    let mut dx = vec![MaybeUninit::uninit(); wide.in_len()];
    for arch in levels() {
        depthwise::weight_grad(arch, &wide, &x, &dy, &mut dw);
        depthwise::input_grad(arch, &wide, &x, &w, &mut dx);
    }
    depthwise_passes::<f32>(&plain((1, 3, 3, 3), (7, 5), 3, 1), 2e-5);
    depthwise_passes::<f32>(&plain((2, 3, 3, 3), (9, 17), 3, 2), 2e-5);
}
