//! Mish, x tanh(ln(1 + e^x)) (Misra, "Mish: A Self Regularized Non-Monotonic Activation
//! Function", 2019): one exponential and one division for each element.

use candle_core::{Module, Result, Tensor};

use super::pointwise::{activation, activation_inplace};
use crate::activation::Activation;

/// Applies Mish to every element.
///
/// The error of a normal result is at most 4 units in the last place. The limits are exact: -0 at
/// negative infinity, infinity at infinity.
///
/// # Shapes
/// Any shape and layout; the result has the shape of `x` and is contiguous.
///
/// # Errors
/// If the element type is not `f32`, `f64`, `f16` or `bf16`, or is one that the device lacks.
pub fn mish(x: &Tensor) -> Result<Tensor> {
    activation(x, &Activation::Mish)
}

/// Replaces every element of `x` by its Mish, for inference. It records nothing for a backward
/// pass. Tensors that share the storage of `x` change too.
///
/// # Errors
/// As [`mish`]; also if a backward pass needs `x`, and while a trace records.
pub fn mish_inplace(x: &Tensor) -> Result<()> {
    activation_inplace(x, &Activation::Mish)
}

/// [`mish`] as a layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mish;

impl Module for Mish {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        mish(x)
    }
}
