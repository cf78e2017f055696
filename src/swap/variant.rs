//! The network under study, with and without another activation.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

use crate::activation::Activation;
use crate::nn::{Blend, ParamStore};

/// Logits in training of images [N, C, H, W] and labels `[N]`, with the loss that the network adds
/// to that of its logits, if it has one.
pub type Forward = dyn Fn(&Tensor, &Tensor) -> Result<(Tensor, Option<Tensor>)>;

/// The network under study with a certain activation, holding the trained weights.
pub struct Variant {
    /// Weights and buffers, of this variant alone.
    pub store: ParamStore,
    /// Of the network built on `store`.
    pub forward: Box<Forward>,
    /// Built on [`ParamStore::frozen`] of `store`.
    pub frozen: Box<dyn ModuleT>,
    /// As `frozen`, with norms that average the statistics of all batches
    /// ([`BatchNorm2d::with_cumulative_statistics`](crate::nn::BatchNorm2d::with_cumulative_statistics))
    /// and nothing random.
    pub calibrating: Box<dyn ModuleT>,
}

/// Which activation goes where.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The new activation.
    pub to: Activation,
    /// Patterns of the paths of the layers that take it; all if there are none.
    pub layers: Vec<String>,
    /// Goes over gradually if there is one.
    pub blend: Option<Blend>,
}

/// Builds the network with its own activation, or with a replacement.
pub type Builder<'a> = dyn Fn(Option<&Replacement>) -> Result<Variant> + 'a;
