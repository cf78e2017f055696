//! Progress bars, for a terminal.

use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use super::base::{Observer, RunStart, StepReport, describe};
use crate::train::error::TrainError;
use crate::train::rate::rate_text;
use crate::train::record::{EpochRecord, EvaluationSet};

/// Shows a bar for the current epoch with learning rate, loss, speed and the remaining time of the run,
/// and above it a line for each finished epoch.
pub struct Progress {
    bars: MultiProgress,
    bar: ProgressBar,
    epochs: usize,
    evaluated_on: EvaluationSet,
    /// A moving average of the loss, because single batches vary.
    loss: Option<f64>,
    /// Seconds of the last epoch, including evaluation, per step.
    seconds_per_step: Option<f64>,
}

impl Progress {
    /// Draws on `bars`.
    pub fn new(bars: MultiProgress) -> Self {
        Self {
            bars,
            bar: ProgressBar::hidden(),
            epochs: 0,
            evaluated_on: EvaluationSet::Test,
            loss: None,
            seconds_per_step: None,
        }
    }

    fn begin(&mut self, batches: usize) {
        // The template is a valid constant; the default is a fallback.
        let style = ProgressStyle::with_template("{prefix} {wide_bar:.cyan/dim} {pos}/{len} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸─");
        let bar = ProgressBar::new(batches as u64).with_style(style);
        self.bar = self.bars.add(bar);
    }
}

impl Observer for Progress {
    fn start(&mut self, run: &RunStart<'_>) -> Result<(), TrainError> {
        self.epochs = run.epochs;
        self.evaluated_on = run.evaluated_on;
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        if self.bar.is_hidden() || self.bar.is_finished() {
            self.begin(report.batches);
            self.bar
                .set_prefix(format!("epoch {}/{}", report.epoch, self.epochs));
        }
        let loss = match self.loss {
            Some(mean) => mean + 0.05 * (report.loss - mean),
            None => report.loss,
        };
        self.loss = Some(loss);
        let left = (report.batches - report.batch) + (self.epochs - report.epoch) * report.batches;
        let elapsed = self.bar.elapsed().as_secs_f64() / report.batch.max(1) as f64;
        let seconds = left as f64 * self.seconds_per_step.unwrap_or(elapsed);
        let eta = Duration::try_from_secs_f64(seconds.round()).unwrap_or_default();
        self.bar.set_position(report.batch as u64);
        self.bar.set_message(format!(
            "lr {}  loss {loss:.3}  {:.0} img/s  {} left",
            rate_text(report.lr),
            report.images_per_second,
            HumanDuration(eta),
        ));
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        if let Some(steps) = self.bar.length() {
            self.seconds_per_step = Some(record.seconds / steps.max(1) as f64);
        }
        self.bar.finish_and_clear();
        let line = describe(record, self.epochs, self.evaluated_on);
        // Prints only on a terminal; callers choose another observer elsewhere.
        self.bars.println(line).map_err(|source| TrainError::Io {
            path: "to the terminal".into(),
            source,
        })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
