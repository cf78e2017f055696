//! The figures of a run: a record of each epoch, and the summary.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::eval::Evaluation;

/// The images that evaluate each epoch, and so choose the best one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvaluationSet {
    /// The test images. The accuracy of the best epoch is then an optimistic estimate.
    Test,
    /// Images held back from the training set.
    Validation,
}

impl fmt::Display for EvaluationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Validation => "validation",
        })
    }
}

/// The figures of an epoch, a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counts from 1.
    pub epoch: usize,
    /// Steps taken since the start of the run.
    pub step: u64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// The mean training loss, with label smoothing and mixed labels.
    pub train_loss: f64,
    /// The accuracy on the augmented training images during training, in [0, 1]. If they are mixed, for
    /// the labels that the images had before.
    pub train_top1: f64,
    /// The loss of the evaluation.
    pub loss: f64,
    /// Top-1 accuracy of the evaluation, in [0, 1].
    pub top1: f64,
    /// Top-5 accuracy of the evaluation, in [0, 1].
    pub top5: f64,
    /// Training images per second, excluding evaluation.
    pub images_per_second: f64,
    /// Seconds of the epoch, including evaluation.
    pub seconds: f64,
    /// Steps whose update was left out because of a loss or gradient that was not finite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// The evaluation of the exponential moving average of the weights, if the run has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<Evaluation>,
}

/// The figures of the exponential moving average of the weights on the test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AveragedRecord {
    /// The epoch of `best_ema.safetensors`, counted from 1.
    pub best_epoch: usize,
    /// The evaluation of `best_ema.safetensors`.
    pub best: Evaluation,
    /// The evaluation of `last_ema.safetensors`.
    pub last: Evaluation,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The figures of a finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The epochs in order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch with the best evaluation, counted from 1.
    pub best_epoch: usize,
    /// The images of that evaluation.
    pub best_chosen_on: EvaluationSet,
    /// Whether the evaluations stopped improving, so that the run ended before its last epoch.
    pub stopped_early: bool,
    /// The evaluation of the best weights on the test images.
    pub best: Evaluation,
    /// The evaluation of the last weights on the test images.
    pub last: Evaluation,
    /// The figures of the exponential moving average of the weights, if the run has one.
    pub ema: Option<AveragedRecord>,
    /// The evaluation of the mean of the weights (SWA) on the test images, if the run has one.
    pub swa: Option<Evaluation>,
    /// Training images per second over all epochs, excluding evaluation.
    pub images_per_second: f64,
    /// Seconds of all epochs, including evaluation, excluding interruptions.
    pub seconds: f64,
}

/// The content of `summary.json`. Accuracies are fractions in [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The name of the network.
    pub model: String,
    /// Its activation.
    pub activation: String,
    /// The data set.
    pub dataset: String,
    /// The origin of its images.
    pub source: serde_json::Value,
    /// The seed.
    pub seed: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// The number of parameters.
    pub params: usize,
    /// Training images in an epoch.
    pub train_images: usize,
    /// Test images.
    pub test_images: usize,
    /// The epoch of `best.safetensors`, counted from 1.
    pub best_epoch: usize,
    /// The images that chose this epoch. Versions before 0.2 do not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_chosen_on: Option<EvaluationSet>,
    /// Whether early stopping ended the run before its last epoch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped_early: bool,
    /// Top-1 accuracy of `best.safetensors` on the test images.
    pub best_top1: f64,
    /// Top-1 accuracy of the last weights on the test images.
    pub final_top1: f64,
    /// Top-5 accuracy of the last weights on the test images.
    pub final_top5: f64,
    /// The loss of the last weights on the test images.
    pub final_loss: f64,
    /// The exponential moving average of the weights, if the run has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<AveragedRecord>,
    /// The evaluation of `swa.safetensors` on the test images, if the run has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swa: Option<Evaluation>,
    /// The floating-point operations of the epochs trained ([`training_flops`](super::training_flops)).
    /// Versions before 0.2 do not record them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_flops: Option<f64>,
    /// Training images per second, excluding evaluation.
    pub train_images_per_second: f64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
    /// Compute threads.
    pub threads: usize,
    /// The version of this software.
    pub version: String,
}
