//! Image-classification networks for Candle that take any activation.
//!
//! # Create a network
//! A [`ModelSpec`] says what a network is: its name in the registry ([`list`] searches it), its
//! activation, its classes, and the image size that its first layers are made for. [`create`]
//! builds it from a [`ParamStore`](candle_mish::nn::ParamStore) or any other `VarBuilder`.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_mish::nn::ParamStore;
//! use candle_mish_models::{Model, ModelSpec, create};
//! use candle_nn::ModuleT;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
//! let spec = ModelSpec { activation: "silu".parse()?, ..ModelSpec::new("resnet20") };
//! let model = create(&spec, store.var_builder())?;
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! let logits = model.forward_t(&images, false)?;
//! assert_eq!(logits.dims(), [2, 100]);
//! # Ok(())
//! # }
//! ```
//!
//! # Load trained weights
//! `from_file` (feature `checkpoint`) rebuilds a network from a checkpoint that candle-mish or timm
//! wrote. `create_pretrained` (feature `hub`) downloads timm's weights. Both return the network
//! with its [`ModelSpec`], class names, preprocessing (feature `data`), and notes about every
//! default that was assumed because the file does not record a value.
//!
//! ```no_run
//! # #[cfg(feature = "hub")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use candle_core::Device;
//! use candle_mish_models::{Tag, create_pretrained, from_file};
//!
//! let model = from_file("runs/silu/best.safetensors", &Device::Cpu)?;
//! let model = create_pretrained("resnet50", Tag::Default, &Device::Cpu)?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "hub"))]
//! # fn main() {}
//! ```
//!
//! # Fine-tune, or use the features
//! [`reset_classifier`] replaces the classifier, [`Entry::layer_groups`] assigns parameters to
//! layers for layer-wise learning rates, and [`tuning::HeadOnly`] trains only the classifier.
//! [`Model::features`] returns the pooled features, [`Model::feature_maps`] the intermediate
//! feature maps.

mod airbench;
mod capsnet;
mod cfg_network;
mod chain;
mod classifier;
mod context;
mod conv_dense;
mod darknet;
mod darknet_cfg;
mod dense;
mod densenet;
mod efficientnet;
#[cfg(feature = "embedded")]
mod embedded;
mod entry;
mod error;
mod grid;
mod groups;
mod identity_init;
mod inception;
mod inception_blocks;
mod inception_resnet;
mod inverted_residual;
mod key_style;
mod layers;
mod mobilenet;
mod model;
mod pattern;
mod peleenet;
mod plain;
pub mod pretrained;
mod recomputed;
mod recorder;
mod registry;
mod resnet;
mod resnet9;
mod resnet_cifar;
mod resnetv2_cifar;
mod shufflenet;
mod simplenet;
mod spec;
mod speedrun;
mod squeezenet;
#[cfg(feature = "swap")]
pub mod swap;
mod tensors;
pub mod transfer;
pub mod tuning;
mod used;
mod vgg;
#[cfg(feature = "checkpoint")]
pub mod weights;
mod whitening;
mod wide_resnet;
mod xception;

pub use context::{BuildContext, Statistics, Swap};
pub use darknet_cfg::{DarknetCfg, DarknetCfgError};
#[cfg(feature = "embedded")]
pub use embedded::{Embedded, embedded};
pub use entry::{Entry, Form};
pub use error::ModelError;
pub use model::{FeatureInfo, Mode, Model, reset_classifier};
pub use recorder::check_options;
pub use registry::{create, create_with, entries, find, list};
pub use spec::{COLOUR_CHANNELS, MetadataError, ModelArgs, ModelSpec, Shortcut, Stem};
pub use used::NoEffect;
#[cfg(feature = "embedded")]
pub use weights::from_embedded;
#[cfg(feature = "checkpoint")]
pub use weights::{LoadError, Loaded, from_file, from_file_with};
#[cfg(feature = "hub")]
pub use weights::{Tag, create_pretrained, create_pretrained_with};
