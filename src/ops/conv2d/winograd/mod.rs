//! Convolutions with a kernel of 3x3 and stride 1 in `f32`, by Winograd's minimal filtering.
//!
//! Tiles of the source and the kernel are transformed so that a convolution becomes a product of
//! matrices for each place in a tile: see [`transform`]. F(4x4, 3x3) needs a quarter of the direct
//! convolution's multiplications, F(2x2, 3x3) four ninths.
//!
//! | file | contents |
//! | --- | --- |
//! | [`transform`] | the transforms of a tile, with channels in the lanes |
//! | [`tiles`] | the grid of tiles, and the planes as tiles with channels in the lanes |
//! | [`products`] | the products of the transformed matrices |
//! | [`convolve`] | the convolution and its input gradient |
//! | [`weight_grad`] | the weight gradient |
//!
//! The error is that of the transforms and of sums over the channels alone, which are shorter than
//! a direct convolution's. A value that is infinite or NaN makes all outputs of its tiles NaN or
//! infinite, and a value beyond a 23rd of the largest `f32` can overflow in the transform.

mod convolve;
mod products;
mod tiles;
mod transform;
mod weight_grad;

pub use convolve::convolve;
pub use weight_grad::weight_grad;

use super::geometry::Geometry;

/// The outputs that a tile computes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// F(2 x 2, 3 x 3).
    Two,
    /// F(4 x 4, 3 x 3).
    Four,
}

impl Outputs {
    /// Outputs on an axis of a tile.
    pub fn per_axis(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Inputs of a tile, and products for it.
    pub fn inputs(self) -> usize {
        (self.per_axis() + 2).pow(2)
    }
}

/// Whether the algorithm computes a convolution.
pub fn applies(g: &Geometry) -> bool {
    (g.kh, g.kw, g.stride, g.dilation) == (3, 3, (1, 1), (1, 1))
}
