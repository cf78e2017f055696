//! Vectors of `f32` or `f64` with one interface, and the transcendental functions that activations
//! need.
//!
//! [`pulp`] chooses the instruction set at run time: AVX-512, AVX2 with FMA, NEON, or scalar code.
//! Its operations have the element type in their names. [`Real`] makes them generic over the
//! element type, and [`Lanes`] carries the instruction set along with the vector. A kernel is
//! written once, as arithmetic, for both element types and all instruction sets:
//!
//! ```ignore
//! #[inline(always)]
//! fn softsign<S: Simd, F: Real>(x: Lanes<S, F>) -> Lanes<S, F> {
//!     x / (x.abs() + 1.0)
//! }
//! ```
//!
//! Code on vectors must be `#[inline(always)]` and be called from inside [`dispatch`]: a function
//! that is not inlined there is compiled without the instruction set.

mod elementary;
mod lanes;
mod real;
pub mod transpose;

pub use lanes::Lanes;
pub use pulp::{Simd, WithSimd};
pub use real::Real;

/// The instruction set of the kernels on this machine, such as `AVX2 with FMA`.
pub fn instruction_set() -> &'static str {
    match pulp::Arch::new() {
        pulp::Arch::Scalar => "scalar code",
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(_) => "AVX2 with FMA",
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(_) => "AVX-512",
        #[allow(
            unreachable_patterns,
            reason = "the instruction sets depend on the target"
        )]
        _ => "NEON",
    }
}

/// Runs `op` with the widest vectors of this machine.
#[inline]
pub fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    pulp::Arch::new().dispatch(op)
}
