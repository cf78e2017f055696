//! Convolution: values and gradients against the definition in f64 and against finite differences.

mod case;
mod extremes;
mod geometry;
mod shapes;
