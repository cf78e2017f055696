//! One training step: forward, loss and backward of one or more micro-batches, then one update.
//!
//! The trainer, the fine-tuning of an activation swap and `mish bench train` all use it.

use candle_core::{DType, Device, Result, Tensor};

use super::optimizer::{Optimizer, Rates};
use super::recipe::Recipe;
use super::reducer::Reducer;
use crate::autograd::{self, Gradients};
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

/// The result of a batch.
#[derive(Debug, Clone)]
pub struct Step {
    /// The mean loss of the batch, with the network's own loss.
    pub loss: f64,
    /// The logits `[N, K]` before the update, detached.
    pub logits: Tensor,
}

/// The gradients of one update: the mean over its micro-batches.
///
/// Each micro-batch has its own batch statistics, as in timm. For micro-batches of equal size, the
/// mean of their gradients is the gradient of the mean loss over all their images.
#[derive(Debug, Default)]
pub struct Accumulation {
    gradients: Gradients,
    batches: usize,
}

impl Accumulation {
    /// Adds the gradients of a micro-batch. The arguments are as in [`step()`].
    ///
    /// # Errors
    /// If the loss is not finite, or `forward` or an op fails.
    pub fn add(
        &mut self,
        forward: impl FnOnce() -> Result<(Tensor, Option<Tensor>)>,
        target: &Target<'_>,
        recipe: &Recipe,
    ) -> std::result::Result<Step, StepError> {
        self.add_loss(|| {
            let (logits, own) = forward()?;
            let loss = loss_of(recipe, &logits, own, target)?;
            Ok((loss, logits))
        })
    }

    /// Adds the gradients of a loss that `forward` computes with the logits `[N, K]`.
    ///
    /// # Errors
    /// If the loss is not finite, or `forward` or an op fails.
    pub fn add_loss(
        &mut self,
        forward: impl FnOnce() -> Result<(Tensor, Tensor)>,
    ) -> std::result::Result<Step, StepError> {
        let (loss, logits, gradients) = autograd::value_and_grad(|| {
            let (loss, logits) = forward()?;
            Ok((loss, logits.detach()))
        })?;
        let loss = finite(loss)?;
        self.gradients.add(gradients)?;
        self.batches += 1;
        Ok(Step { loss, logits })
    }

    /// Adds the gradients of the last micro-batch, as [`Accumulation::add`] does, and then the gradients of
    /// all other ranks, whose sums are computed while the backward pass runs.
    ///
    /// All ranks must call it after the same number of micro-batches. Gradients after a loss that is not
    /// finite, on this rank or on another one, are of no use.
    ///
    /// # Errors
    /// As [`Accumulation::add`], or if another rank has ended.
    pub fn add_last(
        &mut self,
        forward: impl FnOnce() -> Result<(Tensor, Option<Tensor>)>,
        target: &Target<'_>,
        recipe: &Recipe,
        reducer: &Reducer<'_>,
    ) -> std::result::Result<Step, StepError> {
        let (loss, logits) = reducer.all_reduce(&mut self.gradients, |ready| {
            let forward = || {
                let (logits, own) = forward()?;
                let loss = loss_of(recipe, &logits, own, target)?;
                Ok((loss, logits.detach()))
            };
            let (loss, logits, gradients) = autograd::value_and_grad_reporting(forward, ready)?;
            Ok(((loss, logits), gradients))
        })?;
        self.batches = (self.batches + 1) * reducer.ranks();
        let loss = finite(loss)?;
        Ok(Step { loss, logits })
    }

    /// Updates the parameters with the mean of the gradients, at these rates. `recipe` gives the
    /// clipping.
    ///
    /// # Errors
    /// If the optimizer fails.
    pub fn update(
        mut self,
        recipe: &Recipe,
        optimizer: &mut dyn Optimizer,
        rates: impl Into<Rates>,
    ) -> Result<()> {
        let _entered = tracing::trace_span!("op", op = "optimizer", pass = "update").entered();
        if self.batches > 1 {
            self.gradients.scale(1.0 / self.batches as f64)?;
        }
        optimizer.step(&self.gradients, rates.into(), recipe.clip())?;
        Ok(())
    }
}

/// The value of a loss, if it is finite.
fn finite(loss: Tensor) -> std::result::Result<f64, StepError> {
    // On the CPU: not every device has f64.
    let loss = loss.to_device(&Device::Cpu)?;
    let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    match loss.is_finite() {
        true => Ok(loss),
        false => Err(StepError::NonFiniteLoss(loss)),
    }
}

/// Takes one step with one batch, at a learning rate or at all [`Rates`].
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
    rates: impl Into<Rates>,
) -> std::result::Result<Step, StepError> {
    let mut accumulation = Accumulation::default();
    let step = accumulation.add(forward, target, recipe)?;
    accumulation.update(recipe, optimizer, rates)?;
    Ok(step)
}

/// The loss of logits `[N, K]`, with the network's `own` loss.
pub(super) fn loss_of(
    recipe: &Recipe,
    logits: &Tensor,
    own: Option<Tensor>,
    target: &Target<'_>,
) -> Result<Tensor> {
    let loss = recipe.loss_of(logits, target)?;
    match own {
        None => Ok(loss),
        Some(own) => add(&loss, &own),
    }
}
