//! The interface of observers.

use crate::train::error::TrainError;
use crate::train::rate::rate_text;
use crate::train::record::{EpochRecord, EvaluationSet, Record};

/// Observes a run. An error of an observer ends the run.
pub trait Observer {
    /// Called when the run starts or continues.
    ///
    /// # Errors
    /// If output cannot be written.
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        let _ = run;
        Ok(())
    }

    /// Called after each step.
    ///
    /// # Errors
    /// If output cannot be written.
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let _ = report;
        Ok(())
    }

    /// Called after each epoch, once it is evaluated and saved.
    ///
    /// # Errors
    /// If output cannot be written.
    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let _ = record;
        Ok(())
    }

    /// Called when all epochs are done.
    ///
    /// # Errors
    /// If output cannot be written.
    fn finish(&mut self, record: &Record) -> Result<(), TrainError> {
        let _ = record;
        Ok(())
    }
}

/// A run at its start, or where it continues.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunStart<'a> {
    /// The finished epochs; none in a new run.
    pub records: &'a [EpochRecord],
    /// Steps taken so far; 0 in a new run.
    pub step: u64,
    /// The epochs of the whole run.
    pub epochs: usize,
    /// The images that evaluate each epoch.
    pub evaluated_on: EvaluationSet,
}

/// The figures of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The epoch of the step, counted from 1.
    pub epoch: usize,
    /// Steps taken in this epoch.
    pub batch: usize,
    /// Steps in an epoch.
    pub batches: usize,
    /// Steps taken in the run.
    pub step: u64,
    /// The learning rate of this step.
    pub lr: f64,
    /// The training loss of the batch.
    pub loss: f64,
    /// Training images per second in this epoch.
    pub images_per_second: f64,
}

/// Formats the figures of an epoch in one line.
pub(super) fn describe(record: &EpochRecord, epochs: usize, evaluated_on: EvaluationSet) -> String {
    let ema = record.ema.map(|ema| {
        let (loss, top1) = (ema.loss, 100.0 * ema.top1);
        format!("ema loss {loss:.4} top-1 {top1:5.2} %  ")
    });
    let ema = ema.unwrap_or_default();
    let skipped = match record.skipped {
        0 => String::new(),
        1 => "  1 update skipped".to_string(),
        count => format!("  {count} updates skipped"),
    };
    format!(
        "epoch {:>width$}/{epochs}  lr {}  train loss {:.4} top-1 {:5.2} %  \
         {evaluated_on} loss {:.4} top-1 {:5.2} % top-5 {:5.2} %  {ema}{:.0} img/s  {:.1} s{skipped}",
        record.epoch,
        rate_text(record.lr),
        record.train_loss,
        100.0 * record.train_top1,
        record.loss,
        100.0 * record.top1,
        100.0 * record.top5,
        record.images_per_second,
        record.seconds,
        width = epochs.to_string().len(),
    )
}
