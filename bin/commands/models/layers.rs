//! The layers of one network.

use candle_core::{DType, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{LayerRecord, summarize};
use candle_mish::train::Recipe;
use candle_mish_models::{Entry, ModelSpec, Stem};
use serde::Serialize;

use super::embedded;
use super::rows::Weights;
use crate::network::{Network, choice};
use crate::table::{align_right, table, thousands};

/// The form of the network whose layers to show. `None` takes the form's own value.
pub(super) struct Form {
    pub stem: Stem,
    pub activation: Activation,
    pub num_classes: Option<usize>,
    pub img_size: Option<usize>,
}

/// A network with its layers.
#[derive(Serialize)]
pub(super) struct Layers {
    name: &'static str,
    family: &'static str,
    paper: &'static str,
    stem: Stem,
    activation: String,
    num_classes: usize,
    input: [usize; 3],
    params: usize,
    multiply_adds: u64,
    pretrained: Vec<Weights>,
    /// The weights inside of the program.
    embedded: Vec<embedded::Row>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    path: String,
    kind: &'static str,
    /// The shape without the batch axis.
    output: Vec<usize>,
    params: usize,
    multiply_adds: u64,
}

impl From<LayerRecord> for Layer {
    fn from(record: LayerRecord) -> Self {
        Self {
            path: record.path,
            kind: record.kind,
            output: record.output.into_iter().skip(1).collect(),
            params: record.params,
            multiply_adds: record.multiply_adds,
        }
    }
}

/// Runs an image of zeros through the network and records its layers.
pub(super) fn layers(entry: &Entry, form: &Form) -> anyhow::Result<Layers> {
    let (channels, height, width) = entry.form(form.stem).map_err(choice)?.input;
    let (height, width) = form.img_size.map_or((height, width), |size| (size, size));
    let num_classes = form.num_classes.unwrap_or(form.stem.num_classes());
    let spec = ModelSpec {
        activation: form.activation,
        num_classes,
        stem: form.stem,
        img_size: form.img_size.and_then(|size| entry.img_size(size)),
        ..ModelSpec::new(entry.name)
    };
    let network = Network::new(&spec, &Recipe::default())?;
    let image = Tensor::zeros(
        (1, channels, height, width),
        DType::F32,
        network.store.device(),
    )?;
    let (_, records) = summarize(|| network.frozen.forward_t(&image, false))?;
    Ok(Layers {
        name: entry.name,
        family: entry.family,
        paper: entry.paper,
        stem: form.stem,
        activation: form.activation.to_string(),
        num_classes,
        input: [channels, height, width],
        params: network.store.num_params(),
        multiply_adds: records.iter().map(|record| record.multiply_adds).sum(),
        pretrained: entry.pretrained().map(Weights::from).collect(),
        embedded: embedded::rows(Some(entry.name)),
        layers: records.into_iter().map(Layer::from).collect(),
    })
}

/// The layers as a table.
pub(super) fn layer_table(network: &Layers) -> String {
    let mut table = table(&["layer", "type", "output", "parameters", "multiply-adds"]);
    for layer in &network.layers {
        table.add_row([
            layer.path.clone(),
            layer.kind.to_string(),
            shape(&layer.output),
            thousands(layer.params as u64),
            thousands(layer.multiply_adds),
        ]);
    }
    table.add_row([
        "total".to_string(),
        String::new(),
        String::new(),
        thousands(network.params as u64),
        thousands(network.multiply_adds),
    ]);
    align_right(&mut table, [2, 3, 4]);
    let mut weights = String::new();
    if !network.pretrained.is_empty() {
        let table = weights_table(&network.pretrained);
        weights += &format!("\n\nWeights (--pretrained TAG)\n\n{table}");
    }
    if !network.embedded.is_empty() {
        let table = embedded::list(&network.embedded);
        weights += &format!("\n\nEmbedded weights (--pretrained embedded)\n\n{table}");
    }
    format!(
        "{} ({}) with {}, {} classes, {} image\n\n{}{weights}",
        network.name,
        network.paper,
        network.activation,
        network.num_classes,
        shape(&network.input),
        table.trim_fmt()
    )
}

fn weights_table(weights: &[Weights]) -> String {
    let mut table = table(&[
        "tag",
        "repository",
        "classes",
        "images",
        "crop",
        "filter",
        "licence",
    ]);
    for row in weights {
        table.add_row([
            row.tag.to_string(),
            row.repo.to_string(),
            row.num_classes.to_string(),
            format!("{0}x{0}", row.input_size),
            row.crop_pct.to_string(),
            row.interpolation.to_string(),
            row.license.to_string(),
        ]);
    }
    align_right(&mut table, [2]);
    table.trim_fmt()
}

/// Formats [16, 32, 32] as 16x32x32.
fn shape(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    dims.join("x")
}
