//! Training a network that has got another activation.

use candle_core::{Error, Result};

use super::report::RecoveryPoint;
use super::variant::Variant;
use crate::data::Loader;
use crate::eval::Evaluation;
use crate::nn::Blend;
use crate::train::optimizer::{ElementwiseOptimizer, ParameterGroup};
use crate::train::{self, Recipe, StepError};

/// A budget of training after the swap.
///
/// It begins with the recalibrated network, if there is recalibration; with `blend`, which begins
/// with the old activation, it begins with the trained network.
#[derive(Debug, Clone)]
pub struct FineTune {
    /// Steps of the optimizer.
    pub steps: usize,
    /// Optimizer, (highest) rate, weight decay, schedule and the rest. Whatever the recipe counts
    /// in epochs takes the same share of these steps as of the recipe's epochs.
    pub recipe: Recipe,
    /// Goes from the old activation to the new one over the first half of the steps.
    pub blend: bool,
    /// Evaluations on the way, for the curve of recovery.
    pub evaluations: usize,
}

impl FineTune {
    /// Trains `variant` and evaluates it `evaluations` times on the way: before the first step and
    /// after the last one it is up to the caller. `check` is called before each step.
    pub(super) fn run(
        &self,
        variant: &Variant,
        loader: &Loader,
        blend: Option<&Blend>,
        check: &dyn Fn() -> Result<()>,
        evaluate: &mut dyn FnMut(usize) -> Result<Evaluation>,
    ) -> Result<Vec<RecoveryPoint>> {
        let groups = ParameterGroup::split(variant.store.params(), self.recipe.weight_decay);
        let mut optimizer = ElementwiseOptimizer::new(self.recipe.rule(), groups)?;
        let schedule = self.recipe.schedule_over(self.steps as u64);
        if loader.batches_per_epoch() == 0 {
            candle_core::bail!("fine-tuning: there are fewer training images than a batch");
        }
        let interval = self
            .steps
            .div_ceil(self.evaluations.saturating_add(1))
            .max(1);
        let mut curve = Vec::new();
        let mut step: usize = 0;
        for epoch in 0.. {
            for batch in loader.epoch(epoch, 0) {
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
                let batch = batch?;
                train::step(
                    || (variant.forward)(&batch.images, &batch.labels),
                    &batch.labels,
                    &self.recipe,
                    &mut optimizer,
                    schedule.lr(step as u64),
                )
                .map_err(|error| failed(step, error))?;
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
