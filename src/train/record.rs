//! What a run reports: a record for each epoch, and the summary.

use serde::{Deserialize, Serialize};

use crate::eval::Evaluation;

/// One epoch, a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counts from 1.
    pub epoch: usize,
    /// Steps taken since the beginning of the run.
    pub step: u64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// The mean training loss, with label smoothing.
    pub train_loss: f64,
    /// The accuracy on the augmented training images as they were trained on, in [0, 1].
    pub train_top1: f64,
    /// The loss of the evaluation.
    pub loss: f64,
    /// Top-1 accuracy of the evaluation, in [0, 1].
    pub top1: f64,
    /// Top-5 accuracy of the evaluation, in [0, 1].
    pub top5: f64,
    /// Training images per second, without evaluation.
    pub images_per_second: f64,
    /// Seconds of the epoch with its evaluation.
    pub seconds: f64,
}

/// All of a run that was finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The epochs in order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch with the best evaluation, counted from 1.
    pub best_epoch: usize,
    /// The best weights' evaluation on the test images.
    pub best: Evaluation,
    /// The last weights' evaluation on the test images.
    pub last: Evaluation,
    /// Training images per second over all epochs, without evaluation.
    pub images_per_second: f64,
    /// Seconds of all epochs with their evaluation; interruptions do not count.
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
    /// Where its images came from.
    pub source: serde_json::Value,
    /// The seed.
    pub seed: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// Trained values.
    pub params: usize,
    /// Images trained on in an epoch.
    pub train_images: usize,
    /// Images evaluated on.
    pub test_images: usize,
    /// The epoch of `best.safetensors`, counted from 1.
    pub best_epoch: usize,
    /// Top-1 accuracy of `best.safetensors` on the test images.
    pub best_top1: f64,
    /// Top-1 accuracy of the last weights on the test images.
    pub final_top1: f64,
    /// Top-5 accuracy of the last weights on the test images.
    pub final_top5: f64,
    /// The last weights' loss on the test images.
    pub final_loss: f64,
    /// Training images per second, without evaluation.
    pub train_images_per_second: f64,
    /// Seconds of training and evaluation.
    pub seconds: f64,
    /// Threads computed with.
    pub threads: usize,
    /// The version of this software.
    pub version: String,
}
