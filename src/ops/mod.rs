//! Custom ops with their own backward, a folder each.

mod conv2d;

pub use conv2d::{Conv2dParams, conv2d};
