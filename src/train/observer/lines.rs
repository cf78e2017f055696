//! Lines of text for a log or a pipe.

use std::time::{Duration, Instant};

use super::base::{Observer, RunStart, StepReport, describe};
use crate::train::error::TrainError;
use crate::train::rate::rate_text;
use crate::train::record::{EpochRecord, EvaluationSet};

/// Prints a line for each epoch, and lines at intervals within a long epoch.
pub struct Lines {
    print: Box<dyn FnMut(&str)>,
    interval: Duration,
    printed: Instant,
    epochs: usize,
    evaluated_on: EvaluationSet,
}

impl Lines {
    /// Passes lines to `print`, within an epoch at most one per `interval`.
    pub fn new(interval: Duration, print: impl FnMut(&str) + 'static) -> Self {
        Self {
            print: Box::new(print),
            interval,
            printed: Instant::now(),
            epochs: 0,
            evaluated_on: EvaluationSet::Test,
        }
    }
}

impl Observer for Lines {
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        self.epochs = run.epochs;
        self.evaluated_on = run.evaluated_on;
        self.printed = Instant::now();
        if let Some(last) = run.records.last().filter(|last| last.epoch < run.epochs) {
            (self.print)(&format!(
                "continuing after epoch {}/{}",
                last.epoch, run.epochs
            ));
        }
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        if self.printed.elapsed() >= self.interval {
            self.printed = Instant::now();
            (self.print)(&format!(
                "epoch {}/{}  step {}/{}  lr {}  loss {:.4}  {:.0} img/s",
                report.epoch,
                self.epochs,
                report.batch,
                report.batches,
                rate_text(report.lr),
                report.loss,
                report.images_per_second,
            ));
        }
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        self.printed = Instant::now();
        (self.print)(&describe(record, self.epochs, self.evaluated_on));
        Ok(())
    }
}
