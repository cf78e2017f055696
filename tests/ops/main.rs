//! The ops: values and gradients against oracles in f64.

mod activation;
mod autograd;
mod capsule;
mod combine;
mod conv2d;
mod conv2d_grad;
mod conv2d_reference;
mod group_norm;
mod linear;
mod loss;
mod mish;
mod nn;
mod norm_act;
mod params;
mod pool2d;
mod support;
mod trace;
