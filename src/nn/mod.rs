//! Layers with PyTorch's names, keys and defaults, on the ops of [`crate::ops`].
//!
//! A layer is made in one of two ways, as in candle-nn:
//!
//! - from tensors: `Conv2d::new(weight, bias, params)`, `Linear::new(weight, bias)`, …;
//! - from a [`VarBuilder`](candle_nn::VarBuilder): [`conv2d`], [`linear`], [`batch_norm2d`], …
//!   take the sizes and read or create the parameters under PyTorch's keys.
//!
//! [`ParamStore`] provides a `VarBuilder` that creates initial weights from a seed. Layers are
//! candle's [`Module`](candle_core::Module)s, or [`ModuleT`](candle_core::ModuleT)s if training and
//! evaluation differ.
//!
//! ```
//! use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
//! use candle_mish::nn::{self, Conv2dConfig, ParamStore};
//!
//! # fn main() -> Result<()> {
//! let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
//! let vb = store.var_builder();
//! let conv = nn::conv2d(3, 16, Conv2dConfig::same(3), vb.pp("conv"))?;
//! let norm = nn::batch_norm2d(16, vb.pp("bn"))?;
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! let y = norm.forward_t(&conv.forward(&images)?, false)?;
//! assert_eq!(y.dims(), [2, 16, 32, 32]);
//! assert_eq!(conv.weight().dims(), [16, 3, 3, 3]);
//!
//! // The same layer from its tensors.
//! let copy = nn::Conv2d::new(conv.weight().clone(), None, *conv.params());
//! assert_eq!(copy.forward(&images)?.dims(), [2, 16, 32, 32]);
//! # Ok(())
//! # }
//! ```

mod activation;
mod auxiliary;
mod awake;
mod batch_norm;
mod channel_shuffle;
mod conv;
mod conv_norm_act;
mod drop_path;
mod dropout;
mod group_norm;
mod in_pool;
mod init;
mod initialiser;
mod layer_blends;
mod layer_input;
mod linear;
mod orthogonal;
mod params;
mod pool;
mod pre_activation;
mod squeeze_excite;
mod summary;
mod watch;

pub use activation::{Act, Blend, act};
pub use auxiliary::AuxiliaryLoss;
pub use batch_norm::{BatchNorm2d, batch_norm2d, batch_norm2d_zero};
pub use channel_shuffle::ChannelShuffle;
pub use conv::{Conv2d, Conv2dConfig, conv2d};
pub use conv_norm_act::{ConvNormAct, conv_norm_act};
pub use drop_path::DropPath;
pub use dropout::Dropout;
pub use group_norm::{GroupNorm, LayerNorm, group_norm, layer_norm};
pub use in_pool::{forward_in_parts, forward_in_pool};
pub use init::{WeightInit, gain};
pub use initialiser::{Initialisation, Initialiser, WeightDistribution};
pub use layer_blends::LayerBlends;
pub use layer_input::{ObservedLayer, input_of, visit_inputs};
pub use linear::{Linear, LinearConfig, linear, linear_no_bias, linear_with};
pub use params::{LoadReport, ParamStore};
pub use pool::{AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool, MaxPool2d};
pub use pre_activation::{map_activations, map_pre_activations};
pub use squeeze_excite::{SqueezeExcite, SqueezeExciteConfig, squeeze_excite};
pub use summary::{LayerRecord, record, summarize};
pub use watch::first_layer;

/// A layer's name in error messages: its kind, and its path if it has one.
fn named(kind: &str, path: &str) -> String {
    if path.is_empty() {
        kind.to_string()
    } else {
        format!("{kind} {path}")
    }
}
