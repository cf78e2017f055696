//! Mish and any other activation for Candle, with the layers, the data, the training loop and
//! the evaluation of convolutional networks that take them.

pub mod autograd;
pub mod nn;
pub mod ops;
pub mod rng;
