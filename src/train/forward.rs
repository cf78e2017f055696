//! The forward pass of a training step.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

use crate::nn::AuxiliaryLoss;

/// The logits `[N, K]` of a batch in training mode, and the loss that the network adds to theirs, if it
/// has one. `head_only` is the network to run if only its head learns.
pub(super) fn forward(
    model: &dyn ModuleT,
    auxiliary: Option<&dyn AuxiliaryLoss>,
    head_only: Option<&dyn ModuleT>,
    images: &Tensor,
    labels: &Tensor,
) -> Result<(Tensor, Option<Tensor>)> {
    match (head_only, auxiliary) {
        (Some(head), _) => Ok((head.forward_t(images, true)?, None)),
        (None, None) => Ok((model.forward_t(images, true)?, None)),
        (None, Some(network)) => {
            let (logits, own) = network.forward_with_loss(images, labels)?;
            Ok((logits, Some(own)))
        }
    }
}
