//! The choice of an algorithm by geometry, on slices.

use std::mem::MaybeUninit;

use pulp::Arch;
use rayon::prelude::*;

use super::choice::{self, Lanes};
use super::element::Element;
use super::geometry::Geometry;
use super::workspace::assume_init;
use super::{channel_lanes, depthwise, im2col, pixel_lanes, weight_grad as weight};

/// The convolution; `y` is written completely. All slices are contiguous, in `g`'s shapes.
pub fn forward<F: Element>(
    g: &Geometry,
    x: &[F],
    w: &[F],
    bias: Option<&[F]>,
    y: &mut [MaybeUninit<F>],
) {
    check(g, x.len(), w.len(), y.len());
    if y.is_empty() {
        return;
    }
    if g.is_depthwise() {
        depthwise::forward(g, x, w, y);
    } else if let (Some(x), Some(w), Some(y)) = (F::as_f32(x), F::as_f32(w), F::as_f32_uninit(y)) {
        let bias = bias.and_then(F::as_f32);
        let arch = Arch::new();
        return match choice::forward(arch, g) {
            Lanes::Channels => channel_lanes::forward_with(arch, g, x, w, bias, y),
            Lanes::Pixels => pixel_lanes::forward_with(arch, g, x, w, bias, y),
        };
    } else {
        im2col::forward(g, x, w, y);
    }
    if let Some(bias) = bias {
        assert_eq!(bias.len(), g.c_out);
        // SAFETY: the convolutions above write all of `y`.
        let y = unsafe { assume_init(y) };
        y.par_chunks_mut(g.out_plane())
            .with_min_len(16)
            .enumerate()
            .for_each(|(i, plane)| {
                let b = bias[i % g.c_out];
                plane.iter_mut().for_each(|y| *y += b);
            });
    }
}

/// Gradient with respect to the input; `dx` is written completely.
pub fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    check(g, dx.len(), w.len(), dy.len());
    if dx.is_empty() {
        return;
    }
    if g.is_depthwise() {
        depthwise::input_grad(g, dy, w, dx);
    } else if let (Some(dy), Some(w), Some(dx)) =
        (F::as_f32(dy), F::as_f32(w), F::as_f32_uninit(dx))
    {
        let arch = Arch::new();
        match choice::input_grad(arch, g) {
            Lanes::Channels => channel_lanes::input_grad_with(arch, g, dy, w, dx),
            Lanes::Pixels => pixel_lanes::input_grad_with(arch, g, dy, w, dx),
        }
    } else {
        im2col::input_grad(g, dy, w, dx);
    }
}

/// Gradient with respect to the weight, summed over the images; `dw` is written completely.
pub fn weight_grad<F: Element>(g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    check(g, x.len(), dw.len(), dy.len());
    if x.is_empty() {
        dw.fill(F::ZERO);
    } else if g.is_depthwise() {
        depthwise::weight_grad(g, x, dy, dw);
        return;
    }
    let arch = Arch::new();
    if choice::weight_grad(arch, g) == Lanes::Channels
        && let (Some(x), Some(dy)) = (F::as_f32(x), F::as_f32(dy))
        && let Some(dw) = F::as_f32_mut(dw)
    {
        channel_lanes::weight_grad::weight_grad_with(arch, g, x, dy, dw);
    } else {
        weight::weight_grad_with(arch, g, x, dy, dw);
    }
}

/// Gradient with respect to the bias: the sum of `dy` over each output channel.
pub fn bias_grad<F: Element>(g: &Geometry, dy: &[F]) -> Vec<F> {
    let plane = g.out_plane();
    let channel = |c: usize| {
        let mut sum = F::ZERO;
        for i in 0..g.n {
            // Many partial sums: one vector register of them, and little rounding.
            let mut lanes = [F::ZERO; 16];
            let values = &dy[(i * g.c_out + c) * plane..][..plane];
            let chunks = values.chunks_exact(lanes.len());
            let rest = chunks.remainder();
            for chunk in chunks {
                lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += *v);
            }
            lanes.iter_mut().zip(rest).for_each(|(l, v)| *l += *v);
            lanes.into_iter().for_each(|l| sum += l);
        }
        sum
    };
    (0..g.c_out).into_par_iter().map(channel).collect()
}

fn check(g: &Geometry, x: usize, w: usize, y: usize) {
    assert_eq!(
        (x, w, y),
        (g.in_len(), g.weight_len(), g.out_len()),
        "slices do not fit {g:?}"
    );
}
