//! Mish and any other activation for Candle, with the layers, the data, the training loop and
//! the evaluation of convolutional networks that take them.

pub mod activation;
pub mod autograd;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
pub mod eval;
#[cfg(feature = "data")]
pub mod hub;
pub mod nn;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
mod parallel;
pub mod pattern;
pub mod rng;
mod simd;
pub mod suggest;
#[cfg(feature = "train")]
pub mod train;

pub use activation::{Activation, ParseActivationError};
pub use autograd::trace;
pub use ops::activation::{Mish, mish, mish_inplace};
