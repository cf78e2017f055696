//! One training step: forward, loss, backward, update.
//!
//! The trainer, the fine-tuning of an activation swap and `mish bench train` all use it.

use candle_core::{DType, Device, Result, Tensor};

use super::optimizer::Optimizer;
use super::recipe::Recipe;
use crate::autograd;
use crate::ops::{Target, add};

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The loss is infinite or NaN. The weights are as before the step.
    #[error("the loss is {0}")]
    NonFiniteLoss(f64),
    /// An op failed.
    #[error(transparent)]
    Candle(Box<candle_core::Error>),
}

impl From<candle_core::Error> for StepError {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(Box::new(error))
    }
}

/// The result of a step.
#[derive(Debug, Clone)]
pub struct Step {
    /// The mean loss of the batch, with the network's own loss.
    pub loss: f64,
    /// The logits `[N, K]` before the update, detached.
    pub logits: Tensor,
}

/// Takes one step at learning rate `lr`.
///
/// `forward` computes the logits `[N, K]` of a batch in training mode and, for a network with an
/// [`AuxiliaryLoss`](crate::nn::AuxiliaryLoss), that loss. `target` has the classes of the batch, or
/// their probabilities. `recipe` gives the loss and the clipping of gradients.
///
/// # Errors
/// If the loss is not finite, or `forward`, an op or the optimizer fails.
pub fn step(
    forward: impl FnOnce() -> Result<(Tensor, Option<Tensor>)>,
    target: &Target,
    recipe: &Recipe,
    optimizer: &mut dyn Optimizer,
    lr: f64,
) -> std::result::Result<Step, StepError> {
    let (loss, logits, gradients) = autograd::value_and_grad(|| {
        let (logits, own) = forward()?;
        let loss = recipe.loss_of(&logits, target)?;
        let loss = own.map_or(Ok(loss.clone()), |own| add(&loss, &own))?;
        Ok((loss, logits.detach()))
    })?;
    // On the CPU: not every device has f64.
    let loss = loss.to_device(&Device::Cpu)?;
    let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if !loss.is_finite() {
        return Err(StepError::NonFiniteLoss(loss));
    }
    let _entered = tracing::trace_span!("op", op = "optimizer", pass = "update").entered();
    optimizer.step(&gradients, lr, recipe.clip())?;
    Ok(Step { loss, logits })
}
