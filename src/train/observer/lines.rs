//! Lines of text for a log or a pipe.

use std::time::{Duration, Instant};

use super::base::{Observer, StepReport, describe};
use crate::train::error::TrainError;
use crate::train::record::EpochRecord;

/// Prints a line for each epoch, and lines at intervals within a long epoch.
pub struct Lines {
    print: Box<dyn FnMut(&str)>,
    interval: Duration,
    printed: Instant,
    epochs: usize,
}

impl Lines {
    /// Passes lines to `print`, within an epoch at most one per `interval`.
    pub fn new(interval: Duration, print: impl FnMut(&str) + 'static) -> Self {
        Self {
            print: Box::new(print),
            interval,
            printed: Instant::now(),
            epochs: 0,
        }
    }
}

impl Observer for Lines {
    fn start(&mut self, records: &[EpochRecord], epochs: usize) -> Result<(), TrainError> {
        self.epochs = epochs;
        self.printed = Instant::now();
        if let Some(last) = records.last() {
            (self.print)(&format!("continuing after epoch {}/{epochs}", last.epoch));
        }
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        if self.printed.elapsed() >= self.interval {
            self.printed = Instant::now();
            (self.print)(&format!(
                "epoch {}/{}  step {}/{}  lr {:.4}  loss {:.4}  {:.0} img/s",
                report.epoch,
                self.epochs,
                report.batch,
                report.batches,
                report.lr,
                report.loss,
                report.images_per_second,
            ));
        }
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.printed = Instant::now();
        (self.print)(&describe(record, self.epochs));
        Ok(())
    }
}
