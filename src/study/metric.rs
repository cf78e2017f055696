//! The outcome of a run that a study compares.

use serde::{Deserialize, Serialize};

use super::error::StudyError;
use super::outcome::Outcome;
use crate::train::{Recipe, Summary};

/// A figure of a finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Top-1 accuracy of the last weights on the test images.
    #[default]
    FinalTop1,
    /// Top-5 accuracy of the last weights.
    FinalTop5,
    /// The loss of the last weights.
    FinalLoss,
    /// Top-1 accuracy of the best epoch. It is optimistic if the test images chose the epoch.
    BestTop1,
    /// Top-1 accuracy of the exponential moving average of the weights after the last step.
    FinalEmaTop1,
    /// Top-1 accuracy of the moving average at its best epoch. It is optimistic if the test images
    /// chose the epoch.
    BestEmaTop1,
    /// Seconds of training and evaluation.
    Seconds,
    /// Training images per second.
    TrainImagesPerSecond,
    /// The time of an activation, in studies that time activations.
    Milliseconds,
}

/// What a value measures.
enum Unit {
    /// A fraction that people read in percent.
    Share,
    Loss,
    Seconds,
    Milliseconds,
    ImagesPerSecond,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 9] = [
        Self::FinalTop1,
        Self::FinalTop5,
        Self::FinalLoss,
        Self::BestTop1,
        Self::FinalEmaTop1,
        Self::BestEmaTop1,
        Self::Seconds,
        Self::TrainImagesPerSecond,
        Self::Milliseconds,
    ];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::FinalTop1 => "final_top1",
            Self::FinalTop5 => "final_top5",
            Self::FinalLoss => "final_loss",
            Self::BestTop1 => "best_top1",
            Self::FinalEmaTop1 => "final_ema_top1",
            Self::BestEmaTop1 => "best_ema_top1",
            Self::Seconds => "seconds",
            Self::TrainImagesPerSecond => "train_images_per_second",
            Self::Milliseconds => "milliseconds",
        }
    }

    /// The metric called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// The value of a finished run, an accuracy as a fraction in [0, 1]; `None` if the run has no such
    /// figure or has not finished.
    pub fn of(self, outcome: &Outcome) -> Option<f64> {
        match outcome {
            Outcome::Finished(summary) => self.of_training(summary),
            Outcome::Timed(timed) => (self == Self::Milliseconds).then_some(timed.milliseconds),
            Outcome::Missing | Outcome::Started | Outcome::Failed(_) => None,
        }
    }

    /// As [`Metric::of`], of a training.
    pub fn of_training(self, summary: &Summary) -> Option<f64> {
        match self {
            Self::FinalTop1 => Some(summary.final_top1),
            Self::FinalTop5 => Some(summary.final_top5),
            Self::FinalLoss => Some(summary.final_loss),
            Self::BestTop1 => Some(summary.best_top1),
            Self::FinalEmaTop1 => summary.ema.map(|ema| ema.last.top1),
            Self::BestEmaTop1 => summary.ema.map(|ema| ema.best.top1),
            Self::Seconds => Some(summary.seconds),
            Self::TrainImagesPerSecond => Some(summary.train_images_per_second),
            Self::Milliseconds => None,
        }
    }

    /// Checks that a run with `recipe` will have the figure.
    ///
    /// # Errors
    /// If the metric is one of averaged weights and the run does not average them.
    pub fn check(self, run: &str, recipe: &Recipe) -> Result<(), StudyError> {
        match self {
            Self::FinalEmaTop1 | Self::BestEmaTop1 if !recipe.model_ema => Err(self.lacks(run)),
            _ => Ok(()),
        }
    }

    /// The error if the run called `run` has no such figure.
    pub(super) fn lacks(self, run: &str) -> StudyError {
        StudyError::NoFigure {
            run: run.to_owned(),
            metric: self.name(),
        }
    }

    /// Whether larger values are better.
    pub fn higher_is_better(self) -> bool {
        matches!(self.unit(), Unit::Share | Unit::ImagesPerSecond)
    }

    /// Whether values are fractions that people read in percent.
    pub fn is_share(self) -> bool {
        matches!(self.unit(), Unit::Share)
    }

    /// The least and the greatest value that a run can have.
    pub fn range(self) -> (f64, f64) {
        (0.0, if self.is_share() { 1.0 } else { f64::INFINITY })
    }

    fn unit(self) -> Unit {
        match self {
            Self::FinalTop1
            | Self::FinalTop5
            | Self::BestTop1
            | Self::FinalEmaTop1
            | Self::BestEmaTop1 => Unit::Share,
            Self::FinalLoss => Unit::Loss,
            Self::Seconds => Unit::Seconds,
            Self::TrainImagesPerSecond => Unit::ImagesPerSecond,
            Self::Milliseconds => Unit::Milliseconds,
        }
    }

    /// The name in text, with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Self::FinalTop1 => "top-1, %",
            Self::FinalTop5 => "top-5, %",
            Self::FinalLoss => "test loss",
            Self::BestTop1 => "best top-1, %",
            Self::FinalEmaTop1 => "EMA top-1, %",
            Self::BestEmaTop1 => "best EMA top-1, %",
            Self::Seconds => "time, s",
            Self::TrainImagesPerSecond => "images/s",
            Self::Milliseconds => "time, ms",
        }
    }

    /// A value or a difference in the unit of [`title`](Self::title).
    pub fn scaled(self, value: f64) -> f64 {
        if self.is_share() {
            100.0 * value
        } else {
            value
        }
    }

    /// A value from the unit of [`title`](Self::title).
    pub(super) fn unscaled(self, value: f64) -> f64 {
        if self.is_share() {
            value / 100.0
        } else {
            value
        }
    }

    /// Whether two metrics are the same figure, up to the weights that it is taken of.
    pub fn measures_the_same(self, other: Self) -> bool {
        self == other || (self.is_top1() && other.is_top1())
    }

    fn is_top1(self) -> bool {
        self.is_share() && self != Self::FinalTop5
    }

    /// The number of decimals that a value is printed with.
    pub fn decimals(self) -> usize {
        match self.unit() {
            Unit::Loss => 4,
            Unit::Milliseconds => 3,
            Unit::Seconds | Unit::ImagesPerSecond => 0,
            Unit::Share => 2,
        }
    }

    /// A value as text, without its unit.
    pub fn text(self, value: f64) -> String {
        format!("{:.*}", self.decimals(), self.scaled(value))
    }

    /// A difference as text, with its sign and unit.
    pub fn difference(self, value: f64) -> String {
        let unit = match self.unit() {
            Unit::Share => " points",
            Unit::Loss => "",
            Unit::Seconds => " s",
            Unit::Milliseconds => " ms",
            Unit::ImagesPerSecond => " images/s",
        };
        format!("{:+.*}{unit}", self.decimals(), self.scaled(value))
    }
}
