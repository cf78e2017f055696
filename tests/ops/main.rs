//! The ops: values and gradients against oracles in f64.

mod autograd;
mod combine;
mod conv2d;
mod linear;
mod loss;
mod params;
mod pool2d;
mod support;
