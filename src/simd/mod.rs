//! Vectors of `f32` or `f64` under one name, with the transcendental functions that activations
//! and losses need.
//!
//! [`pulp`] chooses the instruction set at run time (AVX-512, AVX2 with FMA, NEON, or plain
//! scalar code) and names every operation after its element type. [`Real`] removes the element
//! type from the names and [`Lanes`] carries the instruction set along with the vector, so that
//! a kernel is written once, as arithmetic, for both element types and every instruction set:
//!
//! ```ignore
//! #[inline(always)]
//! fn softsign<S: Simd, F: Real>(x: Lanes<S, F>) -> Lanes<S, F> {
//!     x / (x.abs() + 1.0)
//! }
//! ```
//!
//! Everything that runs on vectors must be `#[inline(always)]` and be reached from inside
//! [`dispatch`]: a function that is not inlined there is compiled without the instruction set.

mod elementary;
mod lanes;
mod real;

pub use lanes::Lanes;
pub use pulp::{Simd, WithSimd};
pub use real::Real;

/// Runs `op` with the widest vectors that the machine has.
#[inline]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}
