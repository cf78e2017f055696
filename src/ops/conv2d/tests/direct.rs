//! Both direct algorithms, against the definition.

use std::mem::MaybeUninit;

use proptest::prelude::*;
use pulp::Arch;

use super::super::direct::{self, Problem};
use super::super::fp32_precision::Fp32Precision;
use super::super::geometry::Geometry;
use super::support::{Definition, check, geometries, levels};
use crate::ops::storage::written;

/// A pass from two arguments, with a given instruction set.
pub(super) type Convolve = fn(Arch, &Geometry, &[f32], &[f32], &mut [MaybeUninit<f32>]);

fn in_pairs(problem: Problem) -> Problem {
    Problem {
        precision: Fp32Precision::Bf16,
        ..problem
    }
}

/// The convolution and the input gradient of both direct algorithms, and of the first one with products in
/// bfloat16. Values of [`noise`](super::support::noise) are exact in bfloat16.
pub(super) const DIRECT: [(&str, Convolve, Convolve); 3] = [
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
        "pairs of channels",
        |arch, g, x, w, y| {
            let problem = in_pairs(Problem::forward(g, x, w, None, None));
            direct::channel_lanes::convolve(arch, &problem, y);
        },
        |arch, g, dy, w, dx| {
            let problem = in_pairs(Problem::input_grad(g, dy, w));
            direct::channel_lanes::convolve(arch, &problem, dx);
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
    let definition = Definition::<f32>::new(g);
    let (bias, biased) = definition.with_bias(g);
    let Definition {
        x, w, dy, y, dx, ..
    } = definition;
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
            let problem = || Problem::forward(g, &x, &w, Some(&bias), None);
            let got = written(y.len(), |y| {
                direct::channel_lanes::convolve(arch, &problem(), y);
            });
            check::<f32>(&name("channels"), &got, &biased, 2e-5);
            let got = written(y.len(), |y| {
                direct::channel_lanes::convolve(arch, &in_pairs(problem()), y);
            });
            check::<f32>(&name("pairs of channels"), &got, &biased, 2e-5);
            let got = written(y.len(), |y| {
                direct::pixel_lanes::convolve(arch, &problem(), y);
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
