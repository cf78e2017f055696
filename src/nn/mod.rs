//! Layers on the ops, named and keyed as in PyTorch.

mod activation;
mod auxiliary;
mod batch_norm;
mod channel_shuffle;
mod conv;
mod conv_norm_act;
mod drop_path;
mod dropout;
mod group_norm;
mod init;
mod linear;
mod params;
mod pool;
mod squeeze_excite;
mod summary;

pub use activation::{Act, Blend};
pub use auxiliary::AuxiliaryLoss;
pub use batch_norm::BatchNorm2d;
pub use channel_shuffle::ChannelShuffle;
pub use conv::{Conv2d, Conv2dConfig};
pub use conv_norm_act::ConvNormAct;
pub use drop_path::DropPath;
pub use dropout::Dropout;
pub use group_norm::{GroupNorm, LayerNorm};
pub use init::{WeightInit, gain};
pub use linear::Linear;
pub use params::{LoadReport, ParamStore};
pub use pool::{AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use squeeze_excite::{SqueezeExcite, SqueezeExciteConfig};
pub use summary::{LayerRecord, record, summarize};
