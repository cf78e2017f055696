//! Element-wise activation functions: value and derivative in one pass over memory each.
//!
//! The ops save only x and recompute what the derivative needs. That costs less than writing and
//! reading another tensor.

mod cpu;
pub(crate) mod dispatch;
mod function;
#[cfg(any(feature = "cuda", feature = "metal", test))]
mod gpu;
mod mish;
mod parametric;
mod pointwise;
pub(crate) mod simd;

pub use dispatch::has_kernel;
pub use mish::{Mish, mish, mish_inplace};
pub use parametric::{leaky_relu_with, prelu, srelu};
pub use pointwise::{activation, activation_gradient, activation_inplace};
