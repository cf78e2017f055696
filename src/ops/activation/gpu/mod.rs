//! Activations on CUDA and Metal. Both compile the formulas of `kernels/functions.h` and
//! `kernels/parametric.h`.

#[cfg(feature = "cuda")]
pub(super) mod cuda;
pub(super) mod launch;
#[cfg(feature = "metal")]
pub(super) mod metal;
