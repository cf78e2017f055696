//! Mish and any other activation for Candle, with the layers, the data, the training loop and
//! the evaluation of convolutional networks that take them.

pub mod activation;
pub mod autograd;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
#[cfg(feature = "eval")]
pub mod eval;
#[cfg(feature = "hub")]
pub mod hub;
pub mod nn;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
mod parallel;
pub mod pattern;
pub mod rng;
pub mod simd;
#[cfg(feature = "swap")]
pub mod swap;
pub mod trace;
#[cfg(feature = "train")]
pub mod train;

pub use activation::{Activation, ParseActivationError};
pub use ops::mish::{Mish, mish, mish_inplace};
