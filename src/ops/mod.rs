//! Custom ops with their own backward, a folder each.

pub mod activation;
mod conv2d;

pub use conv2d::{Conv2dParams, conv2d};
