//! Custom ops with their own backward, one folder for each.
//!
//! All ops take `f32`, `f64`, `f16` and `bf16` (halves compute in `f32`), any layout and empty
//! tensors.

pub mod activation;
mod all_reduce;
pub mod capsule;
mod channel_shuffle;
mod channels_last;
pub mod combine;
pub mod composed;
mod conv2d;
mod conv_norm_act;
mod drop_path;
mod dropout;
pub mod linear;
pub mod loss;
mod memory_format;
pub mod norm_act;
pub mod pool2d;
mod storage;

pub use activation::{activation, activation_gradient, activation_inplace, mish, mish_inplace};
pub use all_reduce::AllReduce;
pub use channel_shuffle::channel_shuffle;
pub use combine::{
    add, add_scaled, cat, flatten_from, narrow, pad, permute, reshape, scale, scale_channels,
    scale_channels_add_act, stack,
};
pub use conv_norm_act::conv2d_norm_act;
pub use conv2d::{Conv2dParams, ConvKernel, Fp32Precision, PackedWeight, conv2d, conv2d_with};
#[doc(hidden)]
pub use conv2d::{conv2d_algorithms, conv2d_channels_last_algorithm};
pub use drop_path::{DropPathScale, drop_path};
pub use dropout::dropout;
pub use linear::linear;
pub use loss::{
    CrossEntropy, Margin, Reduction, Target, cross_entropy, distillation_loss, margin_loss,
    squared_error,
};
pub use memory_format::MemoryFormat;
pub use norm_act::{
    BatchStatistics, RunningNorm, RunningScales, Statistics, batch_norm_act, fold_batch_norm,
    group_norm, layer_norm,
};
pub use pool2d::{
    AvgDivisor, Pool2dParams, adaptive_avg_pool2d, avg_pool2d, global_avg_pool2d, max_pool2d,
};
