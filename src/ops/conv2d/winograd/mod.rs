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
//! | [`operands`] | the factors of the products: f32, or pairs of bfloat16 |
//! | [`convolve`] | the convolution and its input gradient |
//! | [`weight_grad`] | the weight gradient |
//!
//! The error comes from the transforms and from sums over the channels, which are shorter than the
//! sums of a direct convolution. A value that is infinite or NaN makes all outputs of its tiles NaN or
//! infinite, and a value beyond a 23rd of the largest `f32` can overflow in the transform.

mod convolve;
mod operands;
mod tiles;
mod transform;
mod weight_grad;

pub use convolve::convolve;
pub use weight_grad::weight_grad;
