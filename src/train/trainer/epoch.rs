//! The steps of an epoch.

use std::sync::atomic::Ordering;
use std::time::Instant;

use candle_nn::ModuleT;

use super::Trainer;
use crate::data::Batch;
use crate::train::error::TrainError;
use crate::train::observer::{Observer, StepReport};
use crate::train::step::{Step, StepError, step};

impl<'a> Trainer<'a> {
    /// Trains the rest of the current epoch. Returns false if the run was stopped.
    pub(super) fn epoch(
        &mut self,
        observers: &mut [Box<dyn Observer>],
    ) -> Result<bool, TrainError> {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        let mut clock = Instant::now();
        for batch in self.run.train.epoch(epoch as u64, first) {
            if self.run.stop.load(Ordering::Relaxed) {
                return Ok(false);
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
        }
        Ok(true)
    }

    fn step(&mut self, batch: &Batch) -> Result<(f64, f64), TrainError> {
        let Batch { images, labels, .. } = batch;
        let lr = self.lr(self.progress.step);
        let (run, head) = (self.run, self.head_only());
        let forward = || match (head, run.auxiliary) {
            (Some(head), _) => Ok((head.forward_t(images, true)?, None)),
            (None, None) => Ok((run.model.forward_t(images, true)?, None)),
            (None, Some(network)) => {
                let (logits, own) = network.forward_with_loss(images, labels)?;
                Ok((logits, Some(own)))
            }
        };
        let result = step(forward, labels, run.recipe, &mut self.optimizer, lr);
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
        self.progress.step += 1;
        self.progress.batch += 1;
        self.after_update()?;
        Ok((loss, lr))
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
