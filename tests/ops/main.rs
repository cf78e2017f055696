//! The ops: values and gradients against oracles in f64.

mod combine;
mod conv2d;
mod linear;
mod loss;
mod pool2d;
mod support;
