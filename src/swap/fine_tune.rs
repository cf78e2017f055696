//! Fine-tuning with another activation.

use candle_core::{Error, Result};

use super::report::RecoveryPoint;
use super::variant::Variant;
use crate::data::Loader;
use crate::eval::Evaluation;
use crate::nn::Blend;
use crate::train::optimizer::{ParameterGroup, RuleOptimizer};
use crate::train::{Accumulation, Recipe, StepError};

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
    /// Whether to change gradually from the old to the new activation over the first half of the
    /// steps.
    pub blend: bool,
    /// The number of evaluations between the first and the last step, for the recovery curve.
    pub evaluations: usize,
}

impl FineTune {
    /// Trains `variant` and evaluates it `evaluations` times between the first and the last step.
    /// Calls `check` before each step.
    pub(super) fn run(
        &self,
        variant: &Variant,
        loader: &Loader,
        blend: Option<&Blend>,
        check: &dyn Fn() -> Result<()>,
        evaluate: &mut dyn FnMut(usize) -> Result<Evaluation>,
    ) -> Result<Vec<RecoveryPoint>> {
        let groups = ParameterGroup::split(variant.store.params(), self.recipe.weight_decay);
        let mut optimizer =
            RuleOptimizer::new(self.recipe.optimizer(), groups)?.with_head(&variant.head);
        let schedule = self.recipe.schedule_over(self.steps as u64);
        if loader.batches_per_epoch() == 0 {
            candle_core::bail!("fine-tuning: there are no training images");
        }
        let interval = self
            .steps
            .div_ceil(self.evaluations.saturating_add(1))
            .max(1);
        let mut curve = Vec::new();
        let mut step: usize = 0;
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
                if let Some(blend) = blend {
                    blend.set((step + 1) as f64 / (self.steps as f64 / 2.0));
                }
                let mut update = Accumulation::default();
                for batch in batches.by_ref().take(self.recipe.grad_accum_steps.max(1)) {
                    let batch = batch?;
                    let forward = || (variant.forward)(&batch.images, &batch.labels);
                    let added = update.add(forward, &batch.target(), &self.recipe);
                    added.map_err(|error| failed(step, error))?;
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
            "fine-tuning: {error} at step {}; a lower lr may help",
            steps + 1
        )),
    }
}
