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

mod capsnet;
mod chain;
mod classifier;
mod darknet;
mod densenet;
mod efficientnet;
mod inception;
mod inception_resnet;
mod inverted_residual;
mod layers;
mod mobilenet;
mod options;
mod peleenet;
mod plain;
pub mod pretrained;
mod registry;
mod resnet;
mod resnet9;
mod resnet_cifar;
mod resnetv2_cifar;
mod shufflenet;
mod simplenet;
mod squeezenet;
#[cfg(feature = "swap")]
pub mod swap;
pub mod transfer;
pub mod tuning;
mod vgg;
mod wide_resnet;
mod xception;

pub use options::{Options, Stem, Swap};
pub use registry::{Entry, Form, ModelError, create, entries, find, list};

use candle_core::{Result, Tensor};
use candle_mish::nn::{AuxiliaryLoss, ParamStore};
use candle_nn::{ModuleT, VarBuilder};

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

    /// The path of the layer that makes logits of features, such as `fc`.
    fn classifier(&self) -> &'static str;

    /// The logits, with the backbone and the classifier as in training or not. Where only the
    /// classifier learns, the features should be those of evaluation.
    ///
    /// # Errors
    /// As [`Model::features`].
    fn forward_parts(&self, images: &Tensor, backbone: bool, classifier: bool) -> Result<Tensor>;

    /// Takes the classifier for `num_classes` classes from `vb`, the network's root.
    /// [`reset_classifier`] does this for a network of a [`ParamStore`].
    ///
    /// # Errors
    /// If `vb` has tensors of other shapes, such as those of the present classifier.
    fn replace_classifier(&mut self, num_classes: usize, vb: VarBuilder) -> Result<()>;

    /// The loss that the network adds to that of its logits in training, if it has one.
    fn auxiliary(&self) -> Option<&dyn AuxiliaryLoss> {
        None
    }
}

/// Gives a network that was built on `store` a fresh classifier, as for fine-tuning on other
/// classes. Everything else keeps its values.
///
/// # Errors
/// If there are no classes.
pub fn reset_classifier(
    model: &mut dyn Model,
    num_classes: usize,
    store: &ParamStore,
) -> Result<()> {
    if num_classes == 0 {
        candle_core::bail!("a classifier must have at least one class");
    }
    store.remove(model.classifier());
    model.replace_classifier(num_classes, store.var_builder())
}
