//! What an observer hears: the start of a run, each step, each epoch.

use crate::train::error::TrainError;
use crate::train::record::EpochRecord;

/// Watches a run. An error ends it.
pub trait Observer {
    /// The run begins, or continues after the epochs in `records`.
    ///
    /// # Errors
    /// When something cannot be written.
    fn start(&mut self, records: &[EpochRecord], epochs: usize) -> Result<(), TrainError> {
        let _ = (records, epochs);
        Ok(())
    }

    /// A step was taken.
    ///
    /// # Errors
    /// When something cannot be written.
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let _ = report;
        Ok(())
    }

    /// An epoch was trained, evaluated and saved.
    ///
    /// # Errors
    /// When something cannot be written.
    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let _ = record;
        Ok(())
    }
}

/// A step that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The epoch it belongs to, counted from 1.
    pub epoch: usize,
    /// Steps taken in this epoch.
    pub batch: usize,
    /// Steps of an epoch.
    pub batches: usize,
    /// Steps taken in the run.
    pub step: u64,
    /// The learning rate of this step.
    pub lr: f64,
    /// The training loss of this step's batch.
    pub loss: f64,
    /// Images per second in this epoch.
    pub images_per_second: f64,
}

/// One line that describes an epoch.
pub(super) fn describe(record: &EpochRecord, epochs: usize) -> String {
    format!(
        "epoch {:>width$}/{epochs}  lr {:.4}  train loss {:.4} top-1 {:5.2} %  \
         test loss {:.4} top-1 {:5.2} % top-5 {:5.2} %  {:.0} img/s  {:.1} s",
        record.epoch,
        record.lr,
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
