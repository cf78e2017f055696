//! The figures of a run that a comparison shows.

use std::cmp::Ordering;

use crate::report::stored_run::StoredRun;
use crate::report::time::duration;
use crate::train::EpochRecord;

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Finished epochs.
    Epochs,
    /// Top-1 accuracy of the last weights.
    Top1,
    /// Top-1 accuracy of the best epoch.
    Best,
    /// Top-1 accuracy of the exponential moving average of the weights.
    Ema,
    /// Top-5 accuracy of the last weights.
    Top5,
    /// The loss of the last weights.
    Loss,
    /// Top-1 accuracy on the training images in the last epoch.
    TrainTop1,
    /// The training loss of the last epoch.
    TrainLoss,
    /// Training images per second.
    Speed,
    /// Seconds of all epochs.
    Seconds,
}

impl Figure {
    /// All figures, in the order of the columns.
    pub const ALL: [Self; 10] = [
        Self::Epochs,
        Self::Top1,
        Self::Best,
        Self::Ema,
        Self::Top5,
        Self::Loss,
        Self::TrainTop1,
        Self::TrainLoss,
        Self::Speed,
        Self::Seconds,
    ];

    /// The name for options and data.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Best => "best",
            Self::Ema => "ema",
            Self::Top5 => "top5",
            Self::Loss => "loss",
            Self::TrainTop1 => "train_top1",
            Self::TrainLoss => "train_loss",
            Self::Speed => "speed",
            Self::Seconds => "seconds",
            Self::Epochs => "epochs",
        }
    }

    /// The heading of a column.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Top1 => "top-1, %",
            Self::Best => "best, %",
            Self::Ema => "EMA, %",
            Self::Top5 => "top-5, %",
            Self::Loss => "loss",
            Self::TrainTop1 => "train top-1, %",
            Self::TrainLoss => "train loss",
            Self::Speed => "images/s",
            Self::Seconds => "time",
            Self::Epochs => "epochs",
        }
    }

    /// The value; `None` if the run does not have it yet. Accuracies are fractions in [0, 1].
    ///
    /// Figures of the last and the best weights come from the test images if the run is finished,
    /// else from the evaluation of the epoch.
    pub fn of(self, run: &StoredRun) -> Option<f64> {
        let (last, summary) = (run.records.last(), run.summary.as_ref());
        let sum = |value: fn(&EpochRecord) -> f64| {
            let sum = run.records.iter().map(value).sum::<f64>();
            (!run.records.is_empty()).then_some(sum)
        };
        match self {
            Self::Top1 => summary.map(|s| s.final_top1).or(last.map(|r| r.top1)),
            Self::Best => summary.map(|s| s.best_top1).or(run.best().map(|r| r.top1)),
            Self::Ema => {
                let ema = summary.and_then(|s| s.ema).map(|ema| ema.last);
                ema.or(last.and_then(|r| r.ema)).map(|ema| ema.top1)
            }
            Self::Top5 => summary.map(|s| s.final_top5).or(last.map(|r| r.top5)),
            Self::Loss => summary.map(|s| s.final_loss).or(last.map(|r| r.loss)),
            Self::TrainTop1 => last.map(|r| r.train_top1),
            Self::TrainLoss => last.map(|r| r.train_loss),
            Self::Speed => summary
                .map(|s| s.train_images_per_second)
                .or(last.map(|r| r.images_per_second)),
            Self::Seconds => sum(|record| record.seconds),
            Self::Epochs => Some(run.records.len() as f64),
        }
    }

    /// The value of a run as text; empty if there is none.
    pub fn text(self, run: &StoredRun) -> String {
        let Some(value) = self.of(run) else {
            return String::new();
        };
        match self {
            Self::Top1 | Self::Best | Self::Ema | Self::Top5 | Self::TrainTop1 => {
                format!("{:.2}", 100.0 * value)
            }
            Self::Loss | Self::TrainLoss => format!("{value:.4}"),
            Self::Speed => format!("{value:.0}"),
            Self::Seconds => duration(value),
            Self::Epochs if run.records.len() == run.epochs() => format!("{value:.0}"),
            Self::Epochs if run.is_finished() => format!("{value:.0} of {}", run.epochs()),
            Self::Epochs => format!("{value:.0} of {}, unfinished", run.epochs()),
        }
    }

    /// The order of two runs by this figure: the better first, and runs without it last.
    pub(super) fn order(self, a: &StoredRun, b: &StoredRun) -> Ordering {
        let lower_is_better = matches!(self, Self::Loss | Self::TrainLoss | Self::Seconds);
        match (self.of(a), self.of(b)) {
            (Some(a), Some(b)) if lower_is_better => a.total_cmp(&b),
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}
