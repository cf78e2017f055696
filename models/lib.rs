//! Image-classification networks that take any activation.
//!
//! ```no_run
//! use candle_core::{DType, Device, Tensor};
//! use candle_mish::nn::ParamStore;
//! use candle_mish_models::{Options, create};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
//! let options = Options { activation: "mish".parse()?, ..Options::default() };
//! let model = create("resnet20", &options, store.var_builder())?;
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! let logits = model.forward_t(&images, false)?;
//! assert_eq!(logits.dims(), [2, 100]);
//! # Ok(())
//! # }
//! ```

mod options;
mod registry;
mod resnet_cifar;
mod resnetv2_cifar;

pub use options::Options;
pub use registry::{Entry, ModelError, create, entries, find, list};

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

/// A network that classifies images.
///
/// Its [`ModuleT::forward_t`] maps images [N, C, H, W], normalised, to logits
/// [N, num_classes]; `train` chooses batch statistics and random layers.
pub trait Model: ModuleT + Send + Sync {
    /// The pooled features [N, [`Model::num_features`]] that the classifier sees.
    ///
    /// # Errors
    /// If the images have another number of channels or are too small.
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor>;

    /// The width of the pooled features.
    fn num_features(&self) -> usize;
}
