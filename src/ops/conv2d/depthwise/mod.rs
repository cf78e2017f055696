//! Convolutions whose groups have one input channel each (`groups == c_in`).
//!
//! There are two algorithms. [`channel_lanes`] transposes planes so that the channels fill the
//! vectors; it computes the convolution and its input gradient in `f32` with one output channel per
//! group. The functions of this module do the rest with pixels in the vectors: each plane is copied
//! with its padding, and the kernel runs over the copy by whole vectors of pixels. The input
//! gradient is the same computation with the kernel reversed, on dy with zeros between its values
//! under a stride. [`channels_last`] computes the convolution of images that have their channels next
//! to each other already, without copies.

pub mod channel_lanes;
pub mod channels_last;
mod correlation;
mod padded;
mod registers;
mod weight_sums;

use std::mem::MaybeUninit;

use pulp::Arch;

use super::element::Element;
use super::geometry::Geometry;
use super::inference::Finish;
use correlation::{All, Correlation};
use padded::TapPositions;
use weight_sums::WeightGrad;

/// The convolution without the bias, with the vectors of `arch`; writes all of `y`. In `f32`,
/// `finish` changes the outputs as soon as they are computed.
pub fn forward<F: Element>(
    arch: Arch,
    g: &Geometry,
    x: &[F],
    w: &[F],
    finish: Option<&dyn Finish>,
    y: &mut [MaybeUninit<F>],
) {
    if y.is_empty() {
        return;
    }
    let correlation = Correlation {
        from: x,
        size: (g.h, g.w),
        channels: (g.c_in, g.c_out),
        terms: 1,
        shared_by: g.group_out(),
        weights: w,
        spread: (1, 1),
        positions: TapPositions::forward(g),
        to: (g.out_h, g.out_w),
        finish,
    };
    arch.dispatch(All(&correlation, y));
}

/// Gradient with respect to the input, with the vectors of `arch`; writes all of `dx`.
pub fn input_grad<F: Element>(
    arch: Arch,
    g: &Geometry,
    dy: &[F],
    w: &[F],
    dx: &mut [MaybeUninit<F>],
) {
    if dx.is_empty() {
        return;
    }
    let reversed = w
        .chunks_exact(g.taps())
        .flat_map(|kernel| kernel.iter().rev().copied())
        .collect::<Vec<_>>();
    let correlation = Correlation {
        from: dy,
        size: (g.out_h, g.out_w),
        channels: (g.c_out, g.c_in),
        terms: g.group_out(),
        shared_by: 1,
        weights: &reversed,
        spread: g.stride,
        positions: TapPositions::input_grad(g),
        to: (g.h, g.w),
        finish: None,
    };
    arch.dispatch(All(&correlation, dx));
}

/// Gradient with respect to the weight, summed over the images, with the vectors of `arch`; writes
/// all of `dw`.
pub fn weight_grad<F: Element>(arch: Arch, g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    if g.is_empty() {
        dw.fill(F::ZERO);
        return;
    }
    arch.dispatch(WeightGrad { g, x, dy, dw });
}
