//! Which kernel computes a pass in `f32`, by the sizes of the convolution.

use pulp::{Arch, Simd, WithSimd};

use super::geometry::Geometry;

/// What the lanes of a vector hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    /// Output channels of a pixel: nothing is copied and no lane is lost on small maps.
    Channels,
    /// Pixels of an output channel: nothing is lost on few channels.
    Pixels,
}

/// For the convolution.
pub(super) fn forward(arch: Arch, g: &Geometry) -> Lanes {
    let channels = Channels {
        count: g.group_out(),
        terms: g.patch(),
    };
    best(channels.filled(arch), row(g.out_w, g.out_plane(), g))
}

/// For the gradient with respect to the input, of which the pixels that leave the same remainder
/// under the stride are computed together.
pub(super) fn input_grad(arch: Arch, g: &Geometry) -> Lanes {
    let channels = Channels {
        count: g.group_in(),
        terms: g.group_out() * (g.kh * g.kw).div_ceil(g.stride.0 * g.stride.1),
    };
    let cols = g.w.div_ceil(g.stride.1);
    best(channels.filled(arch), row(cols, g.in_plane(), g))
}

/// For the gradient with respect to the weight.
pub(super) fn weight_grad(arch: Arch, g: &Geometry) -> Lanes {
    let lanes = arch.dispatch(Count);
    let outputs = fraction(g.group_out(), lanes);
    let inputs = fraction(g.group_in(), lanes.min(8));
    let fed = if g.group_out() <= lanes { 0.9 } else { 1.0 };
    best(outputs * inputs * fed, row(g.out_w, g.out_plane(), g))
}

/// Both kernels come near the peak of the machine where they fill their vectors; what keeps them
/// from it is estimated as a share of it, from measurements.
fn best(channels: f64, pixels: f64) -> Lanes {
    match channels >= pixels {
        true => Lanes::Channels,
        false => Lanes::Pixels,
    }
}

/// What the pixels in the lanes reach on rows of `cols` pixels: copying the rows takes a twelfth
/// of the time, and their ends and padding as much as four pixels. A kernel of one tap takes all
/// of a plane for one row.
fn row(cols: usize, plane: usize, g: &Geometry) -> f64 {
    let pointwise = (g.kh, g.kw, g.stride, g.padding) == (1, 1, (1, 1), (0, 0));
    let cols = if pointwise { plane } else { cols } as f64;
    0.92 * cols / (cols + 4.0)
}

/// The output channels of a convolution, and the products that make one output.
struct Channels {
    count: usize,
    terms: usize,
}

impl Channels {
    /// What the channels in the lanes reach: a single vector of them is fed by as many loads as
    /// multiplications, and turning the sums round takes as long as ten products.
    fn filled(&self, arch: Arch) -> f64 {
        let lanes = arch.dispatch(Count);
        let fed = if self.count <= lanes { 0.8 } else { 1.0 };
        let terms = self.terms as f64;
        fraction(self.count, lanes) * fed * terms / (terms + 10.0)
    }
}

/// The share of full lanes where `count` of them are filled up to a multiple.
fn fraction(count: usize, multiple: usize) -> f64 {
    count as f64 / count.next_multiple_of(multiple) as f64
}

/// The `f32` lanes of an instruction set.
struct Count;

impl WithSimd for Count {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}
