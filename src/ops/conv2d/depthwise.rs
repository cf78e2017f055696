//! Convolutions whose groups have one input channel each (`groups == c_in`), without a matrix.

use std::mem::MaybeUninit;

use super::element::Element;
use super::geometry::Geometry;
use super::im2col;

/// The convolution without the bias; `y` is written completely.
pub fn forward<F: Element>(g: &Geometry, x: &[F], w: &[F], y: &mut [MaybeUninit<F>]) {
    im2col::forward(g, x, w, y);
}

/// Gradient with respect to the input; `dx` is written completely.
pub fn input_grad<F: Element>(g: &Geometry, dy: &[F], w: &[F], dx: &mut [MaybeUninit<F>]) {
    im2col::input_grad(g, dy, w, dx);
}

/// Gradient with respect to the weight, summed over the images; `dw` is written completely.
pub fn weight_grad<F: Element>(g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    im2col::weight_grad(g, x, dy, dw);
}
