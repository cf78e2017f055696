//! `mish predict`: names the class of an image.

use std::path::PathBuf;

use candle_core::D;
use candle_mish::activation::Activation;
use serde::Serialize;

use crate::args::positive;
use crate::failure::{Done, usage};
use crate::network::{Network, Weights, read_image};
use crate::{Context, output};

/// Flags of `mish predict`.
#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// Image files (PNG or JPEG)
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// A checkpoint
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The network [default: the one that the weights name]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The activation [default: the one that the weights name]
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Classes to name for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    top: usize,
}

#[derive(Serialize)]
struct Answer {
    image: PathBuf,
    classes: Vec<Class>,
}

#[derive(Serialize)]
struct Class {
    class: String,
    label: usize,
    probability: f32,
}

/// Predicts.
pub fn run(args: &PredictArgs, context: &Context) -> anyhow::Result<Done> {
    let weights = Weights::read(&args.weights)?;
    let model = weights.model(args.model.as_deref())?;
    let activation = weights.activation(args.activation.as_ref())?;
    let lacking = |what: &str| {
        usage(format!(
            "{} does not say {what}; only weights of `mish train` do",
            weights.path.display()
        ))
    };
    let classes = weights.classes()?.ok_or_else(|| lacking("its classes"))?;
    let size = weights
        .image_size()?
        .ok_or_else(|| lacking("its image size"))?;
    let normalisation = weights.normalisation()?;
    let normalisation = normalisation.ok_or_else(|| lacking("its normalisation"))?;
    let num_classes = weights.num_classes()?.unwrap_or(classes.len());
    let network = Network::load(&model, &activation, num_classes, &weights)?;
    let mut answers = Vec::new();
    for path in &args.images {
        let image = read_image(path, size, normalisation)?;
        let logits = network.frozen.forward_t(&image, false)?;
        let probabilities = candle_nn::ops::softmax(&logits, D::Minus1)?;
        let mut ranked: Vec<(usize, f32)> = probabilities
            .flatten_all()?
            .to_vec1::<f32>()?
            .into_iter()
            .enumerate()
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let class = |(label, probability): (usize, f32)| Class {
            class: classes
                .get(label)
                .cloned()
                .unwrap_or_else(|| format!("class {label}")),
            label,
            probability,
        };
        answers.push(Answer {
            image: path.clone(),
            classes: ranked.into_iter().take(args.top).map(class).collect(),
        });
    }
    if context.json {
        output::json(&answers)?;
        return Ok(Done::Complete);
    }
    let line = |answer: &Answer| {
        let classes = answer.classes.iter();
        let classes = classes.map(|c| format!("{} {:.1} %", c.class, 100.0 * c.probability));
        format!(
            "{}: {}\n",
            answer.image.display(),
            classes.collect::<Vec<_>>().join(", ")
        )
    };
    output::text(&answers.iter().map(line).collect::<String>())?;
    Ok(Done::Complete)
}
