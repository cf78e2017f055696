//! Averaged weights in the course of a run: their updates, evaluations and checkpoints.

use std::sync::atomic::Ordering;

use super::Trainer;
use crate::checkpoint;
use crate::data::Loader;
use crate::eval::Evaluation;
use crate::rng::Generator;
use crate::train::average::Shadow;
use crate::train::error::TrainError;
use crate::train::record::{AveragedRecord, EpochRecord};
use crate::train::run_folder::{BEST_EMA, LAST_EMA, SWA};

impl Trainer<'_> {
    /// Follows the weights after an update. The step is already counted.
    pub(super) fn update_averages(&self) -> Result<(), TrainError> {
        match &self.averages.ema {
            Some(ema) => Ok(ema.update(self.progress.step)?),
            None => Ok(()),
        }
    }

    /// The learning rate of `step`.
    pub(super) fn lr(&self, step: u64) -> f64 {
        let scheduled = |step| self.schedule.lr(step);
        let swa = self.averages.swa.as_ref();
        let own = swa.and_then(|swa| swa.lr(step, self.steps_per_epoch, scheduled));
        own.unwrap_or_else(|| scheduled(step))
    }

    /// Evaluates the exponential moving average.
    pub(super) fn evaluate_ema(&self) -> Result<Option<Evaluation>, TrainError> {
        let Some(ema) = &self.averages.ema else {
            return Ok(None);
        };
        self.evaluate_shadow(&ema.shadow, self.run.evaluation())
            .map(Some)
    }

    /// Adds the weights of the finished epoch to the average of SWA, and saves the exponential moving
    /// average.
    pub(super) fn save_averages(&self, record: &EpochRecord) -> Result<(), TrainError> {
        if let Some(swa) = &self.averages.swa {
            swa.add(record.epoch)?;
        }
        if let Some(ema) = &self.averages.ema {
            let tensors = ema.shadow.tensors();
            let best = self.progress.best_ema();
            if best.is_some_and(|best| best.epoch == record.epoch) {
                self.save_tensors(BEST_EMA, &tensors)?;
            }
            self.save_tensors(LAST_EMA, &tensors)?;
        }
        Ok(())
    }

    /// The figures of the exponential moving average on the test images.
    pub(super) fn ema_record(&self) -> Result<Option<AveragedRecord>, TrainError> {
        let Some(ema) = &self.averages.ema else {
            return Ok(None);
        };
        let best = self.progress.best_ema();
        let evaluated = |record: Option<&EpochRecord>| record.and_then(|record| record.ema);
        let (last, best_epoch) = (
            self.progress.records.last(),
            best.map_or(0, |record| record.epoch),
        );
        if self.run.validation.is_none() {
            return Ok(Some(AveragedRecord {
                best_epoch,
                best: evaluated(best).unwrap_or_default(),
                last: evaluated(last).unwrap_or_default(),
            }));
        }
        let last = self.evaluate_shadow(&ema.shadow, self.run.test)?;
        let of_last = ema.shadow.tensors();
        let of_last = of_last
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.force_contiguous()?)))
            .collect::<candle_core::Result<_>>()?;
        let saved = checkpoint::read(&self.run.folder.file(BEST_EMA))?;
        ema.shadow.restore(&saved.tensors)?;
        let best = self.evaluate_shadow(&ema.shadow, self.run.test);
        ema.shadow.restore(&of_last)?;
        Ok(Some(AveragedRecord {
            best_epoch,
            best: best?,
            last,
        }))
    }

    /// Measures the batch-norm statistics of the average of SWA on the training images, evaluates it
    /// on the test images and saves it. `None` if the run is stopped meanwhile.
    pub(super) fn finish_swa(&self) -> Result<Option<Option<Evaluation>>, TrainError> {
        let Some(swa) = &self.averages.swa else {
            return Ok(Some(None));
        };
        if !swa.includes(self.progress.epoch) {
            return Ok(Some(None));
        }
        swa.shadow.exchange()?;
        let finished = self.calibrate().and_then(|done| {
            if !done {
                return Ok(None);
            }
            self.save_tensors(SWA, &self.run.store.tensors())?;
            self.evaluate(self.run.test).map(|found| Some(Some(found)))
        });
        swa.shadow.exchange()?;
        finished
    }

    /// Measures the batch-norm statistics of the present weights on the training images, as
    /// `torch.optim.swa_utils.update_bn` does, but without dropout. Returns false if the run is
    /// stopped meanwhile.
    fn calibrate(&self) -> Result<bool, TrainError> {
        if self.run.store.buffers().is_empty() {
            return Ok(true);
        }
        let Some(network) = self.run.calibrating else {
            return Err(TrainError::NoCalibration);
        };
        self.run.store.reset_statistics()?;
        // Random activations draw: the run itself must not notice.
        let state = |(_, generator): &(String, Generator)| generator.state();
        let states: Vec<_> = self.run.generators.iter().map(state).collect();
        let mut done = true;
        for batch in self.run.train.epoch(self.progress.epoch as u64, 0) {
            if self.run.stop.load(Ordering::Relaxed) {
                done = false;
                break;
            }
            network.forward_t(&batch?.images, true)?;
        }
        for ((_, generator), state) in self.run.generators.iter().zip(&states) {
            generator.restore(state);
        }
        Ok(done)
    }

    fn evaluate_shadow(&self, shadow: &Shadow, on: &Loader) -> Result<Evaluation, TrainError> {
        shadow.exchange()?;
        let evaluation = self.evaluate(on);
        shadow.exchange()?;
        evaluation
    }
}
