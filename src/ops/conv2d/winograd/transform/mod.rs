//! The transforms of Winograd's minimal filtering, with a value of each channel in a lane.
//!
//! `F(m x m, 3 x 3)` computes a tile of m x m outputs from (m + 2) x (m + 2) inputs with as many
//! multiplications as inputs:
//!
//! ```text
//! y  = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A          forward, and the input gradient
//! dw = Gᵀ [ (Bᵀ x B) ⊙ (A dy Aᵀ) ] G         weight gradient
//! ```
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015,
//! arXiv:1509.09308. The matrices follow from Toom and Cook's interpolation. Lavin and Gray
//! interpolate F(4 x 4) at 0, ±1, ±2 and infinity. [`F4`] uses ±2/3 and ±3/2 instead:
//! with 64 channels the root mean square error in `f32` is 1.6 times, rather than 3.5 times, the
//! error of the direct sum.

mod four;
mod two;

use pulp::Simd;

pub use four::F4;
pub use two::F2;

use crate::simd::Lanes;

/// A vector with one value per channel.
pub type V<S> = Lanes<S, f32>;

/// A transform of one axis of a tile.
///
/// A type, not a function: calls through a function argument would not be inlined, and would lack
/// the instruction set.
pub trait Axis<const A: usize, const B: usize> {
    fn apply<S: Simd>(values: [V<S>; A]) -> [V<S>; B];
}

/// The transforms of F(M x M, 3 x 3), with tiles of N = M + 2 inputs.
pub trait Filter<const M: usize, const N: usize> {
    /// Bᵀ x: a tile of the source.
    type Source: Axis<N, N>;
    /// G w: the three taps of the kernel.
    type Kernel: Axis<3, N>;
    /// Aᵀ p: the products, to outputs.
    type Outputs: Axis<N, M>;
    /// A dy: a tile of the gradient of the outputs.
    type OutputGrads: Axis<M, N>;
    /// Gᵀ p: the products, to gradients of the taps.
    type KernelGrads: Axis<N, 3>;
}

/// A square tile of vectors.
pub type Tile<S, const N: usize> = [[V<S>; N]; N];

/// Applies a transform to the columns of a tile, then to its rows.
#[inline(always)]
pub fn both_axes<T: Axis<A, B>, S: Simd, const A: usize, const B: usize>(
    tile: Tile<S, A>,
) -> Tile<S, B> {
    let zero = tile[0][0].constant(0.0);
    let mut columns = [[zero; A]; B];
    for x in 0..A {
        let mut column = [zero; A];
        for y in 0..A {
            column[y] = tile[y][x];
        }
        let column = T::apply(column);
        for y in 0..B {
            columns[y][x] = column[y];
        }
    }
    let mut result = [[zero; B]; B];
    for y in 0..B {
        result[y] = T::apply(columns[y]);
    }
    result
}
