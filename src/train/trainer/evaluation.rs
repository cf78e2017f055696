//! The evaluation of each epoch and of the finished run.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::Tensor;

use super::{Stop, Trainer};
use crate::data::Loader;
use crate::eval::{self, Evaluation};
use crate::train::error::TrainError;
use crate::train::non_finite::NonFiniteOrigin;
use crate::train::record::{EpochRecord, Record};
use crate::train::run_folder::BEST;
use crate::train::state::Partial;

impl Trainer<'_> {
    /// Evaluates the epoch and saves weights and state. The inner error is the reason why the
    /// evaluation was stopped; the epoch is then as before.
    pub(super) fn finish_epoch(&mut self) -> Result<Result<EpochRecord, Stop>, TrainError> {
        let clock = Instant::now();
        if self.progress.partial.skipped == self.steps_per_epoch as u64 {
            let epoch = self.progress.epoch + 1;
            return Err(TrainError::NoFiniteUpdate { epoch });
        }
        let evaluation = match self.evaluate_unless_stopped(self.run.evaluation())? {
            Ok(evaluation) => evaluation,
            Err(stop) => return Ok(Err(stop)),
        };
        let ema = match self.evaluate_ema()? {
            Ok(ema) => ema,
            Err(stop) => return Ok(Err(stop)),
        };
        let losses = std::iter::once(&evaluation).chain(&ema).map(|e| e.loss);
        if let Some(loss) = losses.into_iter().find(|loss| !loss.is_finite()) {
            return Err(self.diverged(loss, self.progress.epoch + 1));
        }
        let Partial {
            totals,
            loss,
            seconds,
            skipped,
        } = std::mem::take(&mut self.progress.partial);
        let mean = totals.mean();
        let lr = self.rates(self.progress.step - 1).lr;
        let record = EpochRecord {
            epoch: self.progress.epoch + 1,
            step: self.progress.step,
            lr,
            train_loss: loss / mean.images as f64,
            train_top1: mean.top1,
            loss: evaluation.loss,
            top1: evaluation.top1,
            top5: evaluation.top5,
            images_per_second: mean.images as f64 / seconds,
            seconds: seconds + clock.elapsed().as_secs_f64(),
            skipped,
            ema,
        };
        let progress = &mut self.progress;
        progress.epoch += 1;
        progress.batch = 0;
        progress.train_seconds += seconds;
        progress.train_images += mean.images;
        progress.records.push(record.clone());
        self.schedule
            .observe(self.run.recipe.eval_metric.of(&record));
        self.clock.finished_epoch();
        self.add_to_averages(record.epoch)?;
        self.save_state()?;
        self.save_epoch()?;
        Ok(Ok(record))
    }

    pub(super) fn evaluate_unless_stopped(
        &self,
        loader: &Loader,
    ) -> Result<Result<Evaluation, Stop>, TrainError> {
        let mut stopped = Ok(None);
        let batches = self.shard(loader).epoch(0, 0).map_while(|batch| {
            stopped = self.stop();
            let next = || batch.map(|batch| (batch.images, batch.labels));
            matches!(stopped, Ok(None)).then(next)
        });
        let totals = eval::totals(self.run.frozen, batches)?;
        match stopped? {
            None => Ok(Ok(self.mean(totals)?)),
            Some(stop) => Ok(Err(stop)),
        }
    }

    pub(super) fn evaluate(&self, loader: &Loader) -> Result<Evaluation, TrainError> {
        let batches = self.shard(loader).epoch(0, 0);
        let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.labels)));
        Ok(self.mean(eval::totals(self.run.frozen, batches)?)?)
    }

    /// The figures of the finished run. If validation images chose the best epoch, evaluates the best
    /// and the last weights on the test images. `swa` is the evaluation of the averaged weights.
    pub(super) fn record(&self, swa: Option<Evaluation>) -> Result<Record, TrainError> {
        let progress = &self.progress;
        let measured = |record: &EpochRecord| Evaluation {
            images: self.run.test.images().len(),
            top1: record.top1,
            top5: record.top5,
            loss: record.loss,
        };
        let last = progress.records.last().map(measured).unwrap_or_default();
        let best = progress.best(self.run.recipe.eval_metric);
        let best_epoch = best.map_or(0, |record| record.epoch);
        let best = best.map(measured).unwrap_or_default();
        let (best, last) = match self.run.validation {
            None => (best, last),
            Some(_) => {
                let last = self.evaluate(self.run.test)?;
                (self.evaluate_best()?, last)
            }
        };
        let record = Record {
            epochs: progress.records.clone(),
            best_epoch,
            best_chosen_on: self.run.evaluated_on(),
            stopped_early: self.stops_early() && progress.epoch < self.run.recipe.epochs,
            best,
            last,
            ema: self.ema_record()?,
            swa,
            images_per_second: progress.train_images as f64 / progress.train_seconds,
            seconds: progress.records.iter().map(|record| record.seconds).sum(),
        };
        // No epoch has checked the test images, if others chose the best one, nor the averages of SWA.
        let averages = record.ema.iter().flat_map(|ema| [ema.best, ema.last]);
        let evaluations = [record.best, record.last].into_iter().chain(record.swa);
        let mut losses = evaluations
            .chain(averages)
            .map(|evaluation| evaluation.loss);
        match losses.find(|loss| !loss.is_finite()) {
            Some(loss) => Err(self.diverged(loss, progress.epoch)),
            None => Ok(record),
        }
    }

    /// The error of an evaluation whose loss is not finite.
    fn diverged(&self, loss: f64, epoch: usize) -> TrainError {
        let step = self.progress.step;
        TrainError::NonFiniteLoss {
            loss,
            epoch,
            step,
            lr: self.rates(step.saturating_sub(1)).lr,
            origin: Some(NonFiniteOrigin::Evaluation),
        }
    }

    /// Evaluates the best weights, then restores the last ones.
    fn evaluate_best(&self) -> Result<Evaluation, TrainError> {
        // A full copy: on Metal, Candle's copy shares the memory of a variable.
        let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.force_contiguous()?));
        let last = self.run.store.tensors().into_iter().map(copy);
        let last = last.collect::<candle_core::Result<HashMap<_, _>>>()?;
        self.run
            .store
            .load_tensors(&self.read(BEST, self.run.store.tensors())?)?;
        let evaluation = self.evaluate(self.run.test);
        self.run.store.load_tensors(&last)?;
        evaluation
    }
}
