//! Both direct algorithms, against the definition.

use std::mem::MaybeUninit;

use proptest::prelude::*;
use pulp::Arch;

use super::super::direct::{self, Problem};
use super::super::geometry::Geometry;
use super::support::{check, geometries, levels, noise, products};
use crate::ops::storage::written;

/// A pass from two arguments, with a given instruction set.
pub(super) type Convolve = fn(Arch, &Geometry, &[f32], &[f32], &mut [MaybeUninit<f32>]);

/// The convolution and the input gradient of both direct algorithms.
pub(super) const DIRECT: [(&str, Convolve, Convolve); 2] = [
    (
        "channels",
        |arch, g, x, w, y| {
            direct::channel_lanes::convolve(arch, &Problem::forward(g, x, w, None, None), y);
        },
        |arch, g, dy, w, dx| {
            direct::channel_lanes::convolve(arch, &Problem::input_grad(g, dy, w), dx);
        },
    ),
    (
        "pixels",
        |arch, g, x, w, y| {
            direct::pixel_lanes::convolve(arch, &Problem::forward(g, x, w, None, None), y);
        },
        |arch, g, dy, w, dx| {
            direct::pixel_lanes::convolve(arch, &Problem::input_grad(g, dy, w), dx);
        },
    ),
];

pub(super) fn direct_passes(g: &Geometry) {
    let (x, w) = (noise::<f32>(1, g.in_len()), noise::<f32>(3, g.weight_len()));
    let (dy, bias) = (noise::<f32>(2, g.out_len()), noise::<f32>(4, g.c_out));
    let mut dx = vec![0.0; x.len()];
    let mut y = vec![0.0; dy.len()];
    products(g, |i, k, o| {
        y[o] += f64::from(x[i]) * f64::from(w[k]);
        dx[i] += f64::from(dy[o]) * f64::from(w[k]);
    });
    let biased = |(i, y): (usize, &f64)| y + f64::from(bias[i / g.out_plane() % g.c_out]);
    let biased: Vec<f64> = y.iter().enumerate().map(biased).collect();
    for arch in levels() {
        for (lanes, forward, input_grad) in DIRECT {
            let name = |pass| format!("{pass} by {lanes}, {arch:?}, {g:?}");
            // SAFETY: the passes write all of their results.
            unsafe {
                let got = written(y.len(), |y| forward(arch, g, &x, &w, y));
                check::<f32>(&name("forward"), &got, &y, 2e-5);
                let got = written(dx.len(), |dx| input_grad(arch, g, &dy, &w, dx));
                check::<f32>(&name("input gradient"), &got, &dx, 2e-5);
            }
        }
        let name = |lanes| format!("forward with bias by {lanes}, {arch:?}, {g:?}");
        // SAFETY: the passes write all of their results.
        unsafe {
            let problem = Problem::forward(g, &x, &w, Some(&bias), None);
            let got = written(y.len(), |y| {
                direct::channel_lanes::convolve(arch, &problem, y);
            });
            check::<f32>(&name("channels"), &got, &biased, 2e-5);
            let got = written(y.len(), |y| {
                direct::pixel_lanes::convolve(arch, &problem, y);
            });
            check::<f32>(&name("pixels"), &got, &biased, 2e-5);
        }
    }
}

proptest! {
    #[test]
    fn direct(g in geometries(0..6)) {
        direct_passes(&g);
    }
}
