//! The ops: values and gradients against oracles in f64.

mod conv2d;
