//! The outcome of a run that a study compares.

use serde::{Deserialize, Serialize};

use crate::train::Summary;

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
    /// Seconds of training and evaluation.
    Seconds,
    /// Training images per second.
    TrainImagesPerSecond,
}

impl Metric {
    /// The name in files: the key in `summary.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FinalTop1 => "final_top1",
            Self::FinalTop5 => "final_top5",
            Self::FinalLoss => "final_loss",
            Self::BestTop1 => "best_top1",
            Self::Seconds => "seconds",
            Self::TrainImagesPerSecond => "train_images_per_second",
        }
    }

    /// The value of a run, an accuracy as a fraction in [0, 1].
    pub fn of(self, summary: &Summary) -> f64 {
        match self {
            Self::FinalTop1 => summary.final_top1,
            Self::FinalTop5 => summary.final_top5,
            Self::FinalLoss => summary.final_loss,
            Self::BestTop1 => summary.best_top1,
            Self::Seconds => summary.seconds,
            Self::TrainImagesPerSecond => summary.train_images_per_second,
        }
    }

    /// Whether larger values are better.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::FinalLoss | Self::Seconds)
    }

    /// Whether values are fractions that people read in percent.
    pub fn is_share(self) -> bool {
        matches!(self, Self::FinalTop1 | Self::FinalTop5 | Self::BestTop1)
    }

    /// The name in text, with its unit.
    pub fn title(self) -> &'static str {
        match self {
            Self::FinalTop1 => "top-1, %",
            Self::FinalTop5 => "top-5, %",
            Self::FinalLoss => "test loss",
            Self::BestTop1 => "best top-1, %",
            Self::Seconds => "time, s",
            Self::TrainImagesPerSecond => "images/s",
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

    /// The number of decimals that a value is printed with.
    pub fn decimals(self) -> usize {
        match self {
            Self::FinalLoss => 4,
            Self::Seconds | Self::TrainImagesPerSecond => 0,
            Self::FinalTop1 | Self::FinalTop5 | Self::BestTop1 => 2,
        }
    }

    /// A value as text, without its unit.
    pub fn text(self, value: f64) -> String {
        format!("{:.*}", self.decimals(), self.scaled(value))
    }

    /// A difference as text, with its sign and unit.
    pub fn difference(self, value: f64) -> String {
        let unit = match self {
            Self::FinalTop1 | Self::FinalTop5 | Self::BestTop1 => " points",
            Self::FinalLoss => "",
            Self::Seconds => " s",
            Self::TrainImagesPerSecond => " images/s",
        };
        format!("{:+.*}{unit}", self.decimals(), self.scaled(value))
    }
}
