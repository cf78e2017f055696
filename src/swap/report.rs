//! What a study found.

use std::fmt;

use serde::Serialize;

use crate::eval::{Change, Comparison, Estimate, Evaluation};

/// The findings of [`study`](super::study).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SwapReport {
    /// The network.
    pub model: String,
    /// The activation that it was trained with.
    pub from: String,
    /// What the study was made of, by name.
    pub setting: Vec<(String, String)>,
    /// Each activation in all chosen layers; first the network's own.
    pub rows: Vec<Row>,
    /// Each activation in one stage or layer at a time.
    pub layers: Vec<LayerRow>,
    /// The way back while fine-tuning.
    pub recovery: Vec<Recovery>,
    /// Disturbed images, after the last stage of each activation.
    pub robustness: Vec<Robustness>,
    /// Activations whose study ended early; what was found until then is in the other fields.
    pub failures: Vec<Failure>,
    /// The study was stopped before it was complete.
    pub interrupted: bool,
}

/// An activation whose study could not be completed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// The activation.
    pub activation: String,
    /// Why.
    pub error: String,
}

/// What has been done to the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The network as it was trained.
    Original,
    /// Another activation, nothing else.
    ZeroShot,
    /// Batch-norm statistics measured anew.
    Recalibrated,
    /// Trained further.
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
    /// What has been done.
    pub stage: Stage,
    /// How it does beside the original.
    pub comparison: Comparison,
    /// From the control, the network's own activation at the same stage, to this one: what the
    /// activation changes, without what recalibration or training change anyway. None for the
    /// control itself.
    pub beside_control: Option<Change>,
}

/// An activation in a part of the network, zero-shot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow {
    /// The activation.
    pub activation: String,
    /// The path of the layer, or the pattern of a stage's.
    pub layers: String,
    /// How it does beside the original.
    pub comparison: Comparison,
}

/// The course of fine-tuning.
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
    /// On all test images.
    pub evaluation: Evaluation,
}

/// How images are disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    /// Not at all.
    None,
    /// Gaussian noise.
    Noise,
    /// The fast gradient sign method.
    Fgsm,
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "clean",
            Self::Noise => "noise",
            Self::Fgsm => "FGSM",
        })
    }
}

/// An activation on disturbed images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Robustness {
    /// The activation.
    pub activation: String,
    /// How the images were disturbed.
    pub disturbance: Disturbance,
    /// How much, as a part of the range of a pixel.
    pub strength: f64,
    /// Images seen.
    pub images: usize,
    /// The share of images whose class has the highest logit.
    pub top1: Estimate,
    /// The mean cross-entropy.
    pub loss: Estimate,
    /// From the network's own activation on images disturbed in the same way. None for that itself.
    pub beside_control: Option<Change>,
}
