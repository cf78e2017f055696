//! The network under study, with and without another activation.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

use crate::activation::{Activation, LayerActivations};
use crate::nn::{LayerBlends, ParamStore};

/// Computes, in training mode, the logits of images `[N, C, H, W]` with labels `[N]`, and the loss
/// that the network adds to the loss of its logits, if it has one.
pub type Forward = dyn Fn(&Tensor, &Tensor) -> Result<(Tensor, Option<Tensor>)>;

/// The network with one activation and its own copy of the trained weights.
pub struct Variant {
    /// Weights and buffers of this variant.
    pub store: ParamStore,
    /// The path of the classifier, such as `fc`.
    pub head: String,
    /// The entries of a checkpoint's header that describe this network, with its new activation.
    pub metadata: BTreeMap<String, String>,
    /// The forward pass in training of the network on `store`.
    pub forward: Box<Forward>,
    /// The network on [`ParamStore::frozen`] of `store`, for evaluation.
    pub frozen: Box<dyn ModuleT>,
    /// As `frozen`, with norms that average the statistics of all batches
    /// ([`BatchNorm2d::with_cumulative_statistics`](crate::nn::BatchNorm2d::with_cumulative_statistics))
    /// and without dropout, for recalibration.
    pub calibrating: Box<dyn ModuleT>,
}

impl Variant {
    /// Measures the statistics of batch norms again as the averages over `images`, without changing
    /// weights.
    ///
    /// # Errors
    /// If an image cannot be read or the forward pass fails.
    pub fn recalibrate(&self, images: impl Iterator<Item = Result<Tensor>>) -> Result<()> {
        if self.store.buffers().is_empty() {
            return Ok(());
        }
        self.store.reset_statistics()?;
        for images in images {
            self.calibrating.forward_t(&images?, true)?;
        }
        Ok(())
    }
}

/// The replacement of an activation.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The new activation.
    pub to: Activation,
    /// Patterns of the paths of the layers to change; all layers if empty.
    pub layers: Vec<String>,
    /// The new activations of layers that differ from `to`, such as constants fitted to a layer.
    pub fitted: LayerActivations,
    /// Changes gradually from the old to the new activation, if set.
    pub blend: Option<LayerBlends>,
}

impl Replacement {
    /// Replaces the activation of all layers by `to`.
    pub fn new(to: Activation) -> Self {
        Self {
            to,
            layers: Vec::new(),
            fitted: LayerActivations::default(),
            blend: None,
        }
    }
}

/// Builds the network with its own activation or with a replacement.
pub type Builder<'a> = dyn Fn(Option<&Replacement>) -> Result<Variant> + 'a;
