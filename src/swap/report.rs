//! The results of a study.

use std::fmt;

use serde::Serialize;

use crate::eval::{Change, Comparison, Estimate, Evaluation};

/// The results of a [study](super::study()).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SwapReport {
    /// The network.
    pub model: String,
    /// The activation in training.
    pub from: String,
    /// The setting of the study, by name.
    pub setting: Vec<(String, String)>,
    /// Each activation in all chosen layers, starting with the network's own.
    pub rows: Vec<Row>,
    /// Each activation in one stage or layer at a time.
    pub layers: Vec<LayerRow>,
    /// The recovery curves of distillation and fine-tuning.
    pub recovery: Vec<Recovery>,
    /// The searches for the layers that can be swapped within a budget.
    pub budgets: Vec<BudgetSearch>,
    /// Functions that approximate the activation in training.
    pub approximations: Vec<Approximation>,
    /// Results on perturbed images, after the last stage of each activation.
    pub robustness: Vec<Robustness>,
    /// Activations that failed. The other fields have their results until then.
    pub failures: Vec<Failure>,
    /// Whether the study was stopped early.
    pub interrupted: bool,
}

/// An activation that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// The activation.
    pub activation: String,
    /// The error.
    pub error: String,
}

/// The stage of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The trained network.
    Original,
    /// Another activation, without further changes.
    ZeroShot,
    /// Recalibrated batch-norm statistics.
    Recalibrated,
    /// Batch-norm statistics re-estimated layer by layer.
    LayerWise,
    /// Bias correction.
    BiasCorrected,
    /// A fitted scale and shift around each activation.
    ScaleShift,
    /// Fitted constants of the activation, with recalibrated batch-norm statistics.
    FittedConstants,
    /// Distilled from the original.
    Distilled,
    /// Fine-tuned.
    FineTuned,
}

impl Stage {
    /// Whether the stage changes more than the batch-norm statistics of the whole network at once.
    pub(super) fn follows_recalibration(self) -> bool {
        !matches!(self, Self::Original | Self::ZeroShot | Self::Recalibrated)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::ZeroShot => "zero-shot",
            Self::Recalibrated => "recalibrated",
            Self::LayerWise => "layer-wise",
            Self::BiasCorrected => "bias-corrected",
            Self::ScaleShift => "scale-and-shift",
            Self::FittedConstants => "fitted-constants",
            Self::Distilled => "distilled",
            Self::FineTuned => "fine-tuned",
        })
    }
}

/// An activation at a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The activation.
    pub activation: String,
    /// The stage.
    pub stage: Stage,
    /// The comparison with the original.
    pub comparison: Comparison,
    /// The change from the control, the network's own activation at the same stage. It excludes the
    /// effect of recalibration and training. None for the control itself.
    #[serde(rename = "beside_control")]
    pub from_control: Option<Change>,
    /// The change from the same activation with recalibrated batch-norm statistics, at the stages after
    /// it.
    pub from_recalibrated: Option<Change>,
    /// The checkpoint with these weights, if the study saves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A zero-shot swap in a part of the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow {
    /// The activation.
    pub activation: String,
    /// The path of the layer, or the pattern of the stage.
    pub layers: String,
    /// The comparison with the original.
    pub comparison: Comparison,
}

/// The recovery curve of a training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// The activation.
    pub activation: String,
    /// [`Stage::Distilled`] or [`Stage::FineTuned`].
    pub stage: Stage,
    /// In the order of the steps.
    pub curve: Vec<RecoveryPoint>,
}

/// An evaluation while training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecoveryPoint {
    /// Steps taken.
    pub step: usize,
    /// The evaluation on all test images.
    pub evaluation: Evaluation,
}

/// The layers that can have another activation at a given loss of accuracy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetSearch {
    /// The activation.
    pub activation: String,
    /// The loss of top-1 that is allowed, in points.
    pub points: f64,
    /// The swaps in the order of the search, the chosen ones first.
    pub curve: Vec<BudgetStep>,
    /// The paths of the layers within the budget.
    pub chosen: Vec<String>,
    /// The network with these layers, on the test images that the search did not use.
    pub held_out: Option<Comparison>,
    /// The evaluations of the search.
    pub evaluations: usize,
    /// The checkpoint with these weights, if the study saves them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A layer that a search swapped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetStep {
    /// The path of the layer.
    pub layer: String,
    /// The comparison with the original on the images of the search, with all layers so far.
    pub comparison: Comparison,
    /// The change of top-1, as a share, made non-increasing over the layers.
    pub smoothed: f64,
}

/// A function in place of the activation in training, on its inputs in the original network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Approximation {
    /// The function.
    pub name: String,
    /// The root of the mean squared error over the inputs of all layers.
    pub rms_error: f64,
    /// The root of the sum of the squared errors, relative to the root of the sum of the activation's
    /// squared values.
    pub relative_error: f64,
    /// The largest error at an input.
    pub largest_error: f64,
    /// The layer with the largest relative error.
    pub worst_layer: String,
    /// Its relative error.
    pub worst_relative_error: f64,
    /// The straight lines, if the function consists of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
}

/// A straight line, slope x + intercept, up to the start of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// The input that the line starts at; `None` for the first line.
    pub from: Option<f64>,
    /// The slope.
    pub slope: f64,
    /// The value at 0.
    pub intercept: f64,
}

/// The perturbation of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Perturbation {
    /// Clean images.
    None,
    /// Gaussian noise.
    Noise,
    /// The fast gradient sign method.
    Fgsm,
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "clean",
            Self::Noise => "noise",
            Self::Fgsm => "FGSM",
        })
    }
}

/// The results of an activation on perturbed images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Robustness {
    /// The activation.
    pub activation: String,
    /// The perturbation.
    #[serde(rename = "disturbance")]
    pub perturbation: Perturbation,
    /// Its strength, as a fraction of the pixel range.
    pub strength: f64,
    /// The number of images.
    pub images: usize,
    /// The fraction of images whose class has the highest logit.
    pub top1: Estimate,
    /// The mean cross-entropy.
    pub loss: Estimate,
    /// The change from the network's own activation under the same perturbation. None for the network's
    /// own activation.
    #[serde(rename = "beside_control")]
    pub from_control: Option<Change>,
}
