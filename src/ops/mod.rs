//! Custom ops with their own backward, a folder each.

pub mod activation;
pub mod combine;
mod conv2d;
mod dropout;
pub mod linear;
pub mod loss;
pub mod mish;
pub mod norm_act;
pub mod pool2d;
mod storage;

pub use combine::{add, cat, scale_channels, stack};
pub use conv2d::{Conv2dParams, conv2d};
pub use dropout::dropout;
pub use linear::linear;
pub use loss::{CrossEntropy, Reduction, Target, cross_entropy};
pub use norm_act::{BatchStatistics, Statistics, batch_norm_act, fold_batch_norm};
pub use pool2d::{Pool2dParams, adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d};
