//! The steps of an epoch.

use std::time::Instant;

use candle_core::Tensor;

use super::guard::Guard;
use super::{Stop, Trainer};
use crate::data::Batch;
use crate::train::error::TrainError;
use crate::train::observer::{Observer, StepReport};
use crate::train::step::{Step, StepError, loss_of, step};

impl<'a> Trainer<'a> {
    /// Trains the rest of the current epoch, or returns why it was stopped.
    pub(super) fn epoch(
        &mut self,
        observers: &mut [Box<dyn Observer>],
    ) -> Result<Option<Stop>, TrainError> {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        self.clock.start();
        let mut clock = Instant::now();
        for batch in self.run.train.epoch(epoch as u64, first) {
            if let Some(stop) = self.stop() {
                return Ok(Some(stop));
            }
            let (loss, lr) = self.step(&batch?)?;
            self.progress.partial.seconds += clock.elapsed().as_secs_f64();
            clock = Instant::now();
            let partial = &self.progress.partial;
            let report = StepReport {
                epoch: epoch + 1,
                batch: self.progress.batch,
                batches: self.steps_per_epoch,
                step: self.progress.step,
                lr,
                loss,
                images_per_second: partial.totals.images() as f64 / partial.seconds,
            };
            for observer in &mut *observers {
                observer.step(&report)?;
            }
            self.clock.stepped();
            if self.clock.recovery_due() {
                self.save_state()?;
                clock = Instant::now();
            }
        }
        Ok(None)
    }

    /// Takes a step, or leaves out its update if it is not finite and the options say so. Returns loss
    /// and learning rate.
    fn step(&mut self, batch: &Batch) -> Result<(f64, f64), TrainError> {
        let lr = self.schedule.lr(self.progress.step);
        let before = self.before_step()?;
        let (run, head_only) = (self.run, self.head_only());
        let mut optimizer = Guard::new(&mut self.optimizer);
        let forward = || run.forward(head_only, &batch.images, &batch.labels);
        let result = step(forward, &batch.labels, run.recipe, &mut optimizer, lr);
        let refused = optimizer.refused;
        let (epoch, number) = (self.progress.epoch + 1, self.progress.step + 1);
        let loss = match result {
            Ok(Step { loss, .. }) if refused => {
                let error = |origin| TrainError::NonFiniteGradient {
                    epoch,
                    step: number,
                    lr,
                    origin,
                };
                self.not_finite(batch, &before, error)?;
                loss
            }
            Ok(Step { loss, logits }) => {
                let partial = &mut self.progress.partial;
                partial.totals.add(&logits, &batch.labels)?;
                partial.loss += loss * batch.labels.elem_count() as f64;
                loss
            }
            Err(StepError::NonFiniteLoss(loss)) => {
                let error = |origin| TrainError::NonFiniteLoss {
                    loss,
                    epoch,
                    step: number,
                    lr,
                    origin,
                };
                self.not_finite(batch, &before, error)?;
                loss
            }
            Err(StepError::Candle(error)) => return Err(TrainError::Candle(error)),
        };
        self.progress.step += 1;
        self.progress.batch += 1;
        Ok((loss, lr))
    }

    /// The loss of a batch in training mode, `[]`.
    pub(super) fn loss(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        let Batch { images, labels, .. } = batch;
        let (logits, own) = self.run.forward(self.head_only(), images, labels)?;
        loss_of(self.run.recipe, &logits, own, labels)
    }

    /// Whether only the head learns in the next step.
    fn head_only(&self) -> bool {
        self.run.recipe.freeze_backbone || self.progress.step < self.head_warmup
    }
}
