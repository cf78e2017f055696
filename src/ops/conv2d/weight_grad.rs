//! The gradient with respect to the weight.

use super::element::Element;
use super::geometry::Geometry;
use super::im2col;

/// Gradient with respect to the weight, summed over the images: `dw` in the weight's layout,
/// written completely. `x` and `dy` are contiguous, in `g`'s shapes.
pub fn weight_grad<F: Element>(g: &Geometry, x: &[F], dy: &[F], dw: &mut [F]) {
    im2col::weight_grad(g, x, dy, dw);
}
