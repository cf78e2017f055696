//! The steps of an epoch.

use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_core::Result as CandleResult;
use candle_nn::ModuleT;

use super::Trainer;
use crate::data::Batch;
use crate::train::error::TrainError;
use crate::train::observer::{Observer, StepReport};
use crate::train::step::{Accumulation, Step, StepError};

impl<'a> Trainer<'a> {
    /// Trains the rest of the current epoch. Returns false if the run was stopped.
    ///
    /// An update takes `grad_accum_steps` batches; the last one of an epoch takes the rest. Between
    /// updates the run can stop and save its state.
    pub(super) fn epoch(
        &mut self,
        observers: &mut [Box<dyn Observer>],
    ) -> Result<bool, TrainError> {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        let mut clock = Instant::now();
        let mut batches = self.run.train.epoch(epoch as u64, first).peekable();
        while batches.peek().is_some() {
            if self.run.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let group = batches.by_ref().take(self.run.recipe.grad_accum_steps);
            let (loss, lr) = self.update(group)?;
            self.after_update()?;
            self.progress.partial.seconds += clock.elapsed().as_secs_f64();
            clock = Instant::now();
            let partial = &self.progress.partial;
            let report = StepReport {
                epoch: epoch + 1,
                batch: self.run.recipe.updates(self.progress.batch),
                batches: self.steps_per_epoch,
                step: self.progress.step,
                lr,
                loss,
                images_per_second: partial.totals.images() as f64 / partial.seconds,
            };
            for observer in &mut *observers {
                observer.step(&report)?;
            }
        }
        Ok(true)
    }

    /// Updates the weights with the mean gradient of `batches`. Returns the mean loss and the
    /// learning rate.
    fn update(
        &mut self,
        batches: impl Iterator<Item = CandleResult<Batch>>,
    ) -> Result<(f64, f64), TrainError> {
        let rates = self.schedule.rates(self.progress.step);
        let mut accumulation = Accumulation::default();
        let (mut loss, mut count) = (0.0, 0.0);
        for batch in batches {
            loss += self.accumulate(&mut accumulation, &batch?, rates.lr)?;
            count += 1.0;
        }
        accumulation.update(self.run.recipe, &mut self.optimizer, rates)?;
        Ok((loss / count, rates.lr))
    }

    /// Adds the gradients of a batch and returns its loss.
    fn accumulate(
        &mut self,
        accumulation: &mut Accumulation,
        batch: &Batch,
        lr: f64,
    ) -> Result<f64, TrainError> {
        let Batch { images, labels, .. } = batch;
        let (run, head) = (self.run, self.head_only());
        let forward = || match (head, run.auxiliary) {
            (Some(head), _) => Ok((head.forward_t(images, true)?, None)),
            (None, None) => Ok((run.model.forward_t(images, true)?, None)),
            (None, Some(network)) => {
                let (logits, own) = network.forward_with_loss(images, labels)?;
                Ok((logits, Some(own)))
            }
        };
        let result = accumulation.add(forward, &batch.target(), run.recipe);
        let Step { loss, logits } = result.map_err(|error| match error {
            StepError::NonFiniteLoss(loss) => TrainError::NonFiniteLoss {
                loss,
                epoch: self.progress.epoch + 1,
                step: self.progress.step + 1,
                lr,
            },
            StepError::Candle(error) => TrainError::Candle(error),
        })?;
        let partial = &mut self.progress.partial;
        partial.totals.add(&logits, labels)?;
        partial.loss += loss * labels.elem_count() as f64;
        self.progress.batch += 1;
        Ok(loss)
    }

    /// Follows each update of the weights: counts it.
    fn after_update(&mut self) -> Result<(), TrainError> {
        self.progress.step += 1;
        Ok(())
    }

    /// The network to train in the next step if only the head learns.
    fn head_only(&self) -> Option<&'a dyn ModuleT> {
        let alone = self.run.recipe.freeze_backbone || self.progress.step < self.head_warmup;
        self.run
            .parts
            .as_ref()
            .filter(|_| alone)
            .map(|parts| parts.head_only)
    }
}
