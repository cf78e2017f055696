//! Convolutions whose groups have one input channel each (`groups == c_in`), without a matrix.
//!
//! Each plane is copied with its padding, and the kernel runs over the copy by whole vectors of
//! pixels: see [`super::planes`]. The gradient with respect to the input is the same computation with the
//! kernel turned round, on `dy` with zeros between its values where there is a stride.

mod copies;
mod correlation;
mod weight_grad;

use std::mem::MaybeUninit;

use pulp::Arch;

use super::element::Element;
use super::geometry::Geometry;
use copies::Places;
use correlation::{All, Correlation};
use weight_grad::WeightGrad;

/// Multiplications below which one thread does it all.
const SMALL: usize = 1 << 17;

/// Channels of which the weight gradient is summed together: their sums stay in the first-level
/// cache.
const CHANNELS: usize = 16;

/// The convolution without the bias; `y` is written completely.
pub fn forward<F: Element>(g: &Geometry, x: &[F], w: &[F], y: &mut [MaybeUninit<F>]) {
    forward_with(Arch::new(), g, x, w, y);
}

/// [`forward`] with a given instruction set.
pub fn forward_with<F: Element>(
    arch: Arch,
    g: &Geometry,
    x: &[F],
    w: &[F],
    y: &mut [MaybeUninit<F>],
) {
    let to = (g.out_h, g.out_w);
    let correlation = Correlation {
        from: x,
        size: (g.h, g.w),
        channels: (g.c_in, g.c_out),
        terms: 1,
        shared_by: g.group_out(),
        weights: w,
        spread: (1, 1),
        places: Places::forward(g),
        to,
    };
    arch.dispatch(All(&correlation, y));
}

/// Gradient with respect to the input; `dx` is written completely.
pub fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    input_grad_with(Arch::new(), g, dy, w, dx);
}

/// [`input_grad`] with a given instruction set.
pub fn input_grad_with<F: Element>(
    arch: Arch,
    g: &Geometry,
    dy: &[F],
    w: &[F],
    dx: &mut [MaybeUninit<F>],
) {
    let turned = w
        .chunks_exact(g.kh * g.kw)
        .flat_map(|kernel| kernel.iter().rev().copied())
        .collect::<Vec<_>>();
    let before = |k: usize, dilation: usize, padding: usize| {
        padding as isize - (dilation * (k - 1)) as isize
    };
    let spread = |out: usize, stride: usize| (out - 1) * stride + 1;
    let correlation = Correlation {
        from: dy,
        size: (g.out_h, g.out_w),
        channels: (g.c_out, g.c_in),
        terms: g.group_out(),
        shared_by: 1,
        weights: &turned,
        spread: g.stride,
        places: Places {
            kernel: (g.kh, g.kw),
            stride: (1, 1),
            dilation: g.dilation,
            first: (
                before(g.kh, g.dilation.0, g.padding.0),
                before(g.kw, g.dilation.1, g.padding.1),
            ),
            width: spread(g.out_w, g.stride.1),
            out: (g.h, g.w),
        },
        to: (g.h, g.w),
    };
    arch.dispatch(All(&correlation, dx));
}

/// Gradient with respect to the weight, summed over the images; `dw` is written completely.
pub fn weight_grad<F: Element>(g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    weight_grad_with(Arch::new(), g, x, dy, dw);
}

/// [`weight_grad`] with a given instruction set.
pub fn weight_grad_with<F: Element>(arch: Arch, g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    arch.dispatch(WeightGrad { g, x, dy, dw });
}

/// Runs `$run!(n)` for the next `n` of `$left` taps until none are left: as many as registers
/// hold, in few different numbers, each of which is compiled.
macro_rules! by_registers {
    ($vector:ty, $left:expr, $run:ident) => {
        while $left > 0 {
            if $left >= 25 && size_of::<$vector>() == 64 {
                $run!(25);
            } else if $left >= 9 {
                $run!(9);
            } else if $left >= 5 {
                $run!(5);
            } else if $left >= 3 {
                $run!(3);
            } else {
                $run!(1);
            }
        }
    };
}

use by_registers;
