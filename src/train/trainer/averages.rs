//! Averaged weights in the course of a run: their updates, evaluations and checkpoints.

use super::{Stop, Trainer};
use crate::data::Loader;
use crate::eval::Evaluation;
use crate::rng::Generator;
use crate::train::average::Shadow;
use crate::train::error::TrainError;
use crate::train::optimizer::{Optimizer, Rates};
use crate::train::record::{AveragedRecord, EpochRecord};
use crate::train::run_folder::{BEST_EMA, SWA};

impl Trainer<'_> {
    /// Follows the weights after an update that is not counted yet.
    pub(super) fn update_averages(&self) -> Result<(), TrainError> {
        match &self.averages.ema {
            Some(ema) => Ok(ema.update(self.optimizer.steps())?),
            None => Ok(()),
        }
    }

    /// Adds the weights at the end of `epoch`, counted from 1, to the mean of SWA.
    pub(super) fn add_to_averages(&self, epoch: usize) -> Result<(), TrainError> {
        match &self.averages.swa {
            Some(swa) => Ok(swa.add(epoch)?),
            None => Ok(()),
        }
    }

    /// The rates of `step`: the schedule's, until SWA anneals the learning rate.
    pub(super) fn rates(&self, step: u64) -> Rates {
        let rates = self.schedule.rates(step);
        let scheduled = |step| self.schedule.rates(step).lr;
        let swa = self.averages.swa.as_ref();
        let own = swa.and_then(|swa| swa.lr(step, self.steps_per_epoch, scheduled));
        Rates {
            lr: own.unwrap_or(rates.lr),
            ..rates
        }
    }

    /// Evaluates the exponential moving average. The inner error is the reason why the evaluation was
    /// stopped.
    pub(super) fn evaluate_ema(&self) -> Result<Result<Option<Evaluation>, Stop>, TrainError> {
        let Some(ema) = &self.averages.ema else {
            return Ok(Ok(None));
        };
        ema.exchange()?;
        let evaluation = self.evaluate_unless_stopped(self.run.evaluation());
        ema.exchange()?;
        Ok(evaluation?.map(Some))
    }

    /// The figures of the exponential moving average on the test images.
    pub(super) fn ema_record(&self) -> Result<Option<AveragedRecord>, TrainError> {
        let Some(ema) = &self.averages.ema else {
            return Ok(None);
        };
        let best = self.progress.best_ema(self.run.recipe.eval_metric);
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
        ema.shadow
            .restore(&self.read(BEST_EMA, ema.shadow.tensors())?)?;
        let best = self.evaluate_shadow(&ema.shadow, self.run.test);
        ema.shadow.restore(&of_last)?;
        Ok(Some(AveragedRecord {
            best_epoch,
            best: best?,
            last,
        }))
    }

    /// Measures the batch-norm statistics of the average of SWA on the training images, evaluates it
    /// on the test images and saves it. The inner error is the reason why the run was stopped meanwhile.
    pub(super) fn finish_swa(&self) -> Result<Result<Option<Evaluation>, Stop>, TrainError> {
        let Some(swa) = &self.averages.swa else {
            return Ok(Ok(None));
        };
        if !swa.includes(self.progress.epoch) {
            return Ok(Ok(None));
        }
        swa.shadow.exchange()?;
        let finished = self.calibrate().and_then(|stopped| {
            if let Some(stop) = stopped {
                return Ok(Err(stop));
            }
            self.save_weights(SWA)?;
            let evaluation = self.evaluate_unless_stopped(self.run.test)?;
            Ok(evaluation.map(Some))
        });
        swa.shadow.exchange()?;
        finished
    }

    /// Measures the batch-norm statistics of the present weights on the training images, as
    /// `torch.optim.swa_utils.update_bn` does, but without dropout. Returns why the run was stopped
    /// meanwhile, if it was.
    fn calibrate(&self) -> Result<Option<Stop>, TrainError> {
        if self.run.store.buffers().is_empty() {
            return Ok(None);
        }
        let Some(network) = self.run.calibrating else {
            return Err(TrainError::NoCalibration);
        };
        self.run.store.reset_statistics()?;
        // Random activations draw: the run itself must not notice.
        let state = |(_, generator): &(String, Generator)| generator.state();
        let states: Vec<_> = self.run.generators.iter().map(state).collect();
        let mut stopped = None;
        for batch in self.train.epoch(self.progress.epoch as u64, 0) {
            stopped = self.stop()?;
            if stopped.is_some() {
                break;
            }
            network.forward_t(&batch?.images, true)?;
        }
        for ((_, generator), state) in self.run.generators.iter().zip(&states) {
            generator.restore(state);
        }
        self.average_statistics()?;
        Ok(stopped)
    }

    fn evaluate_shadow(&self, shadow: &Shadow, on: &Loader) -> Result<Evaluation, TrainError> {
        shadow.exchange()?;
        let evaluation = self.evaluate(on);
        shadow.exchange()?;
        evaluation
    }
}
