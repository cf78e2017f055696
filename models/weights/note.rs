//! Warnings as data: what was assumed or changed while loading.

use std::fmt;

use candle_mish::activation::Activation;
#[cfg(feature = "data")]
use candle_mish::data::Preprocess;
use candle_mish::nn::LoadReport;

use crate::spec::Stem;
use crate::transfer::Transfer;

/// Something that a user should know about loaded weights. Prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line.
    pub message: String,
    /// The arguments that override it, with timm's names: `activation`, `img_size`, ….
    pub arguments: &'static [&'static str],
    /// The complete list, if the line shows only part of it.
    pub details: Vec<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Note {
    pub(super) fn new(message: String, arguments: &'static [&'static str]) -> Self {
        Self {
            message,
            arguments,
            details: Vec::new(),
        }
    }

    pub(super) fn assumed_activation(origin: &str, activation: Activation) -> Self {
        let message = format!("{origin} does not record its activation: assuming {activation}");
        Self::new(message, &["activation"])
    }

    /// A note of the reader of checkpoints.
    pub(super) fn of_checkpoint(origin: &str, line: &str) -> Self {
        let message = if line.contains(origin) {
            line.to_string()
        } else {
            format!("{origin}: {line}")
        };
        Self::new(message, &[])
    }

    pub(super) fn assumed_classes(origin: &str) -> Self {
        let message = format!("{origin} does not record its classes: assuming ImageNet-1k's");
        Self::new(message, &["class_map"])
    }

    /// A note about the names of darknet's ImageNet classes.
    #[cfg(feature = "data")]
    pub(super) fn devkit_classes(origin: &str) -> Self {
        let message = format!(
            "{origin} does not record its classes: assuming ImageNet-1k's in darknet's order"
        );
        Self::new(message, &["class_map"])
    }

    /// A note about shortcuts that versions of darknet compute in different ways.
    pub(super) fn strided_shortcuts(origin: &str) -> Self {
        let message = format!(
            "{origin} has shortcuts between maps of different sizes: computing them as pjreddie's \
             darknet; AlexeyAB's since January 2020 adds other values"
        );
        Self::new(message, &[])
    }

    pub(super) fn learned_activation(origin: &str, activation: Activation) -> Self {
        let name = activation.name();
        let message = format!("{origin} has the learned parameters of {name}: using {name}");
        Self::new(message, &["activation"])
    }

    pub(super) fn activation_of_style(origin: &str, activation: Activation, style: &str) -> Self {
        let message = format!(
            "{origin} does not record its activation: assuming {activation}, as in {style}"
        );
        Self::new(message, &["activation"])
    }

    pub(super) fn without_projections(origin: &str) -> Self {
        let message = format!(
            "{origin} has no convolutions in its shortcuts: using shortcuts without parameters \
             (option a)"
        );
        Self::new(message, &["shortcut"])
    }

    pub(super) fn other_activation(own: Activation, given: Activation) -> Self {
        let message = format!("the weights were trained with {own}, not {given}");
        Self::new(message, &[])
    }

    pub(super) fn assumed_stem(origin: &str, stem: Stem) -> Self {
        let message = format!("{origin} does not record its stem: assuming {stem}");
        Self::new(message, &["stem"])
    }

    /// The preprocessing of weights that do not record theirs.
    #[cfg(feature = "data")]
    pub fn assumed_preprocess(origin: &str, preprocess: &Preprocess) -> Self {
        let Preprocess {
            input_size,
            crop_pct,
            interpolation,
            mean,
            std,
        } = preprocess;
        let message = format!(
            "{origin} does not record its preprocessing: assuming {input_size} pixels, crop \
             {crop_pct}, {interpolation}, mean {mean:?}, std {std:?}"
        );
        let arguments = &["img_size", "crop_pct", "interpolation", "mean", "std"];
        Self::new(message, arguments)
    }

    /// What was changed to make the weights fit, if anything.
    pub fn transferred(origin: &str, transfer: &Transfer) -> Option<Self> {
        let notes = transfer.notes();
        let message = format!("{origin}: {}", notes.join("; "));
        let details = transfer.passed_over.iter();
        let details = details.map(|name| format!("ignored: {name}"));
        (!notes.is_empty()).then(|| Self {
            details: details.collect(),
            ..Self::new(message, &[])
        })
    }

    pub(super) fn fresh_activation(origin: &str, count: usize, activation: Activation) -> Self {
        let message = format!("{origin}: {count} parameters of {activation} are re-initialised");
        Self::new(message, &[])
    }

    pub(super) fn other_stem(origin: &str, stem: Stem, report: &LoadReport) -> Self {
        let message = format!("{origin} does not have the {stem} stem: {report}");
        let details = if report.is_abridged() {
            report.lines()
        } else {
            Vec::new()
        };
        Self {
            details,
            ..Self::new(message, &[])
        }
    }
}
