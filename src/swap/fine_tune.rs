//! Training with another activation.

use candle_core::{Error, Result};

use super::report::RecoveryPoint;
use super::variant::Variant;
use crate::data::{Batch, Loader};
use crate::eval::Evaluation;
use crate::nn::LayerBlends;
use crate::train::optimizer::RuleOptimizer;
use crate::train::{Accumulation, Recipe, Step, StepError};

/// How a network changes from the old to the new activation over the first half of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlendOrder {
    /// All layers at the same time.
    AtOnce,
    /// One layer after the other, from the input on.
    LayerByLayer,
}

/// Training after the swap.
///
/// It starts from the recalibrated network, if there is recalibration. With `blend`, which starts
/// with the old activation, it starts from the trained network.
#[derive(Debug, Clone)]
pub struct FineTune {
    /// Steps of the optimizer.
    pub steps: usize,
    /// The hyperparameters. Durations in epochs take the same fraction of `steps` as of the epochs of
    /// the recipe.
    pub recipe: Recipe,
    /// Changes gradually from the old to the new activation over the first half of the steps.
    pub blend: Option<BlendOrder>,
    /// The number of evaluations between the first and the last step, for the recovery curve.
    pub evaluations: usize,
}

/// Adds the gradients of a batch to an update. The number counts the batches of the training from 0.
pub(super) type Objective<'a> =
    dyn Fn(&mut Accumulation, usize, &Batch) -> std::result::Result<Step, StepError> + 'a;

/// A change of activation over a training: the blends, and the paths of the layers in the order of
/// the forward pass.
pub(super) struct Blending<'a> {
    pub blends: LayerBlends,
    pub order: BlendOrder,
    pub paths: &'a [String],
}

impl Blending<'_> {
    fn set(&self, progress: f64) {
        match self.order {
            BlendOrder::AtOnce => self.blends.set(progress),
            BlendOrder::LayerByLayer => self.blends.set_in_order(self.paths, progress),
        }
    }
}

impl FineTune {
    /// The loss of the recipe with the labels of the images.
    pub(super) fn labels<'a>(&'a self, variant: &'a Variant) -> Box<Objective<'a>> {
        Box::new(|update, _, batch| {
            let forward = || (variant.forward)(&batch.images, &batch.labels);
            update.add(forward, &batch.target(), &self.recipe)
        })
    }

    /// Trains `variant` and evaluates it `evaluations` times between the first and the last step.
    /// Calls `check` before each step.
    pub(super) fn run(
        &self,
        variant: &Variant,
        loader: &Loader,
        objective: &Objective,
        blending: Option<&Blending>,
        check: &dyn Fn() -> Result<()>,
        evaluate: &mut dyn FnMut(usize) -> Result<Evaluation>,
    ) -> Result<Vec<RecoveryPoint>> {
        let groups = self.recipe.groups(variant.store.params());
        let mut optimizer =
            RuleOptimizer::new(self.recipe.optimizer(), groups)?.with_head(&variant.head);
        let schedule = self.recipe.schedule_over(self.steps as u64);
        if loader.batches_per_epoch() == 0 {
            candle_core::bail!("training: there are no images");
        }
        let interval = self
            .steps
            .div_ceil(self.evaluations.saturating_add(1))
            .max(1);
        let mut curve = Vec::new();
        let (mut step, mut seen): (usize, usize) = (0, 0);
        for epoch in 0.. {
            let mut batches = loader.epoch(epoch, 0).peekable();
            while batches.peek().is_some() {
                check()?;
                if step == self.steps {
                    return Ok(curve);
                }
                if step > 0 && step.is_multiple_of(interval) {
                    let evaluation = evaluate(step)?;
                    curve.push(RecoveryPoint { step, evaluation });
                }
                if let Some(blending) = blending {
                    blending.set((step + 1) as f64 / (self.steps as f64 / 2.0));
                }
                let mut update = Accumulation::default();
                for batch in batches.by_ref().take(self.recipe.grad_accum_steps.max(1)) {
                    let added = objective(&mut update, seen, &batch?);
                    added.map_err(|error| failed(step, error))?;
                    seen += 1;
                }
                let rates = schedule.rates(step as u64);
                update.update(&self.recipe, &mut optimizer, rates)?;
                step += 1;
            }
        }
        Ok(curve)
    }
}

/// The error of the step after `steps` steps.
fn failed(steps: usize, error: StepError) -> Error {
    match error {
        StepError::Candle(error) => *error,
        error => Error::Msg(format!(
            "training: {error} at step {}; a lower lr may help",
            steps + 1
        )),
    }
}
