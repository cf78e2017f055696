//! The steps of a range test.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_nn::ModuleT;

use super::curve::{Point, RangeTest};
use crate::data::{Batch, Loader};
use crate::nn::{AuxiliaryLoss, ParamStore};
use crate::train::error::TrainError;
use crate::train::forward::forward;
use crate::train::parts::{self, Parts};
use crate::train::recipe::Recipe;
use crate::train::step::{Accumulation, StepError};

/// Learning rates that rise exponentially.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sweep {
    /// The rate of the first step.
    pub start_lr: f64,
    /// The rate of the last step.
    pub end_lr: f64,
    /// The number of steps.
    pub num_iter: usize,
}

impl Sweep {
    /// The rate of a step, counted from 0.
    pub fn lr(&self, step: usize) -> f64 {
        let last = self.num_iter.saturating_sub(1).max(1);
        let share = step as f64 / last as f64;
        self.start_lr * (self.end_lr / self.start_lr).powf(share)
    }
}

/// What a range test trains. The fields are as in [`Run`](crate::train::Run).
pub struct LrFind<'a> {
    /// The network, built on `store`. The test changes its weights.
    pub model: &'a dyn ModuleT,
    /// The loss that `model` adds to the loss of its logits, if it has one.
    pub auxiliary: Option<&'a dyn AuxiliaryLoss>,
    /// The parts of the network, for recipes that treat them differently.
    pub parts: Option<Parts<'a>>,
    /// Weights and buffers.
    pub store: &'a ParamStore,
    /// The training images, shuffled and augmented.
    pub train: &'a Loader,
    /// The hyperparameters. The sweep replaces the schedule.
    pub recipe: &'a Recipe,
    /// The learning rates.
    pub sweep: Sweep,
    /// If set, the test ends after the current step.
    pub stop: &'a AtomicBool,
}

/// Trains with the rates of the sweep until it ends or the loss diverges. Calls `observe` after each
/// step.
///
/// # Errors
/// A recipe out of range, an empty training set, or the error of an op.
pub fn lr_find(
    test: &LrFind<'_>,
    observe: &mut dyn FnMut(&Point),
) -> Result<RangeTest, TrainError> {
    let recipe = test.recipe;
    recipe.validate()?;
    if test.train.batches_per_epoch() == 0 {
        return Err(TrainError::NoImages);
    }
    let mut optimizer = parts::optimizer(test.store, recipe, test.parts.as_ref(), 0)?;
    let parts = test.parts.as_ref().filter(|_| recipe.freeze_backbone);
    let head_only = parts.map(|parts| parts.head_only);
    let mut batches = (0..).flat_map(|epoch| test.train.epoch(epoch, 0));
    let mut found = RangeTest::default();
    for step in 0..test.sweep.num_iter {
        if test.stop.load(Ordering::Relaxed) {
            break;
        }
        let lr = test.sweep.lr(step);
        let mut accumulation = Accumulation::default();
        let (mut loss, mut count) = (0.0, 0.0);
        for batch in batches.by_ref().take(recipe.grad_accum_steps) {
            let batch = batch?;
            let Batch { images, labels, .. } = &batch;
            let forward = || forward(test.model, test.auxiliary, head_only, images, labels);
            loss += match accumulation.add(forward, &batch.target(), recipe) {
                Ok(step) => step.loss,
                Err(StepError::NonFiniteLoss(loss)) => loss,
                Err(StepError::Candle(error)) => return Err(TrainError::Candle(error)),
            };
            count += 1.0;
        }
        if !found.push(lr, loss / count) {
            break;
        }
        found.points.last().into_iter().for_each(&mut *observe);
        accumulation.update(recipe, &mut optimizer, lr)?;
    }
    Ok(found)
}
