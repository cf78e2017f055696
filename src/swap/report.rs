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
    /// The recovery curves of fine-tuning.
    pub recovery: Vec<Recovery>,
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
    /// Fine-tuned.
    FineTuned,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original",
            Self::ZeroShot => "zero-shot",
            Self::Recalibrated => "recalibrated",
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

/// The recovery curve of fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// The activation.
    pub activation: String,
    /// In the order of the steps.
    pub curve: Vec<RecoveryPoint>,
}

/// An evaluation while fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecoveryPoint {
    /// Steps taken.
    pub step: usize,
    /// The evaluation on all test images.
    pub evaluation: Evaluation,
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
