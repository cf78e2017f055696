//! The steps of an epoch.

use std::time::Instant;

use candle_core::{Result as CandleResult, Tensor};

use super::guard::Guard;
use super::{Stop, Trainer};
use crate::data::Batch;
use crate::train::error::TrainError;
use crate::train::observer::{Observer, StepReport};
use crate::train::optimizer::Optimizer;
use crate::train::step::{Accumulation, Step, StepError, loss_of};

/// An update of the weights.
pub(super) struct Update {
    /// The mean loss of its batches on all ranks.
    pub loss: f64,
    /// The learning rate.
    pub lr: f64,
    /// Whether it was taken. Otherwise it was left out, as the loss or a gradient was not finite.
    pub taken: bool,
}

impl Trainer<'_> {
    /// Trains the rest of the current epoch, or returns why it was stopped.
    ///
    /// An update takes `grad_accum_steps` batches; the last one of an epoch takes the rest. Between
    /// updates the run can stop and save its state.
    pub(super) fn epoch(
        &mut self,
        observers: &mut [Box<dyn Observer>],
    ) -> Result<Option<Stop>, TrainError> {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        self.clock.start();
        let mut clock = Instant::now();
        let mut batches = self.train.epoch(epoch as u64, first).peekable();
        while batches.peek().is_some() {
            if let Some(stop) = self.stop()? {
                return Ok(Some(stop));
            }
            let group = batches.by_ref().take(self.run.recipe.grad_accum_steps);
            let Update { loss, lr, taken } = self.update(group)?;
            if taken {
                self.after_update()?;
            }
            if batches.peek().is_none() {
                self.optimizer.end_epoch()?;
            }
            self.progress.step += 1;
            tracing::trace!(step = self.progress.step, "took a step");
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
            self.clock.stepped();
            if self.clock.recovery_due() {
                self.save_state()?;
                clock = Instant::now();
            }
        }
        Ok(None)
    }

    /// Updates the weights with the mean gradient of `batches` on all ranks. If it is not finite and the options say
    /// so, leaves out the update.
    fn update(
        &mut self,
        batches: impl Iterator<Item = CandleResult<Batch>>,
    ) -> Result<Update, TrainError> {
        let rates = self.rates(self.progress.step);
        let before = self.before_update()?;
        let sums = self.set_sums_aside();
        let mut accumulation = Accumulation::default();
        let (mut loss, mut count) = (0.0, 0.0);
        let mut batches = batches.peekable();
        while let Some(batch) = batches.next() {
            self.restart_generators(self.progress.batch);
            let last = batches.peek().is_none();
            loss += self.accumulate(&mut accumulation, &batch?, last)?;
            count += 1.0;
        }
        loss = self.join_sums(&sums, loss)?;
        let mut taken = loss.is_finite();
        if taken {
            let mut optimizer = Guard::new(&mut self.optimizer);
            accumulation.update(self.run.recipe, &mut optimizer, rates)?;
            taken = !optimizer.refused;
        }
        let update = Update {
            loss: loss / count,
            lr: rates.lr,
            taken,
        };
        if !taken {
            self.leave_out(&before, &update)?;
        }
        Ok(update)
    }

    /// Adds the gradients of a batch and returns its loss. A loss that is not finite has none. With the
    /// `last` batch, adds the gradients of all other ranks.
    fn accumulate(
        &mut self,
        accumulation: &mut Accumulation,
        batch: &Batch,
        last: bool,
    ) -> Result<f64, TrainError> {
        let Batch { images, labels, .. } = batch;
        let (run, head_only) = (self.run, self.head_only());
        let forward = || run.forward(head_only, images, labels);
        self.progress.batch += 1;
        let added = match last && !self.parallel.is_single() {
            true => accumulation.add_last(forward, &batch.target(), run.recipe, &self.reducer),
            false => accumulation.add(forward, &batch.target(), run.recipe),
        };
        match added {
            Ok(Step { loss, logits }) => {
                let partial = &mut self.progress.partial;
                partial.totals.add(&logits, labels)?;
                partial.loss += loss * labels.elem_count() as f64;
                Ok(loss)
            }
            Err(StepError::NonFiniteLoss(loss)) => Ok(loss),
            Err(StepError::Candle(error)) => Err(TrainError::Candle(error)),
        }
    }

    /// Follows each update of the weights.
    fn after_update(&mut self) -> Result<(), TrainError> {
        self.distribute_statistics()?;
        self.update_averages()
    }

    /// The loss of a batch in training mode, `[]`.
    pub(super) fn loss(&self, batch: &Batch) -> CandleResult<Tensor> {
        let Batch { images, labels, .. } = batch;
        let (logits, own) = self.run.forward(self.head_only(), images, labels)?;
        loss_of(self.run.recipe, &logits, own, &batch.target())
    }

    /// Whether only the head learns in the next step.
    fn head_only(&self) -> bool {
        self.run.recipe.freeze_backbone || self.optimizer.steps() < self.head_warmup
    }
}
