//! The networks and their weights, as rows of a list.

use candle_mish_models::pretrained::Pretrained;
use candle_mish_models::{Entry, Form, Stem};
use serde::Serialize;

use crate::table::thousands;

/// A network in the list.
#[derive(Serialize)]
pub(super) struct Row {
    pub name: &'static str,
    pub family: &'static str,
    pub paper: &'static str,
    /// The form for CIFAR-100.
    pub cifar: Size,
    /// The form for ImageNet, if there is one.
    pub imagenet: Option<Size>,
    /// Weights on the Hugging Face Hub. The first are the default.
    pub pretrained: Vec<Weights>,
}

/// Weights with a tag for `--pretrained`.
#[derive(Serialize)]
pub(super) struct Weights {
    pub tag: &'static str,
    pub repo: &'static str,
    pub file: &'static str,
    pub stem: Stem,
    pub activation: String,
    pub num_classes: usize,
    pub input_size: usize,
    pub crop_pct: f64,
    pub interpolation: &'static str,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub license: &'static str,
}

impl From<&Pretrained> for Weights {
    fn from(row: &Pretrained) -> Self {
        Self {
            tag: row.tag,
            repo: row.repo,
            file: row.file,
            stem: row.stem,
            activation: row.activation.to_string(),
            num_classes: row.num_classes,
            input_size: row.input_size,
            crop_pct: row.crop_pct,
            interpolation: row.interpolation,
            mean: row.mean,
            std: row.std,
            license: row.license,
        }
    }
}

/// The size of a network's form.
#[derive(Serialize)]
pub(super) struct Size {
    params: usize,
    multiply_adds: u64,
    input: [usize; 3],
}

impl From<&Form> for Size {
    fn from(form: &Form) -> Self {
        let (channels, height, width) = form.input;
        Self {
            params: form.params,
            multiply_adds: form.multiply_adds,
            input: [channels, height, width],
        }
    }
}

impl From<&Entry> for Row {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name,
            family: entry.family,
            paper: entry.paper,
            cifar: (&entry.cifar).into(),
            imagenet: entry.imagenet.as_ref().map(Size::from),
            pretrained: entry.pretrained().map(Weights::from).collect(),
        }
    }
}

/// The default weights' tag, and the number of other weights.
pub(super) fn short_tags(weights: &[Weights]) -> String {
    match weights {
        [] => String::new(),
        [only] => only.tag.to_string(),
        [first, others @ ..] => format!("{} and {} more", first.tag, others.len()),
    }
}

/// Parameters, millions of multiply-adds and the size of the input.
pub(super) fn size_cells(size: Option<&Size>) -> [String; 3] {
    match size {
        None => Default::default(),
        Some(size) => [
            thousands(size.params as u64),
            format!(
                "{} M",
                thousands((size.multiply_adds + 500_000) / 1_000_000)
            ),
            format!("{0}x{0}", size.input[1]),
        ],
    }
}
