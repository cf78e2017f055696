//! `mish predict`: classifies images, or writes their logits.

use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_core::{D, DType, Tensor};
use candle_mish::activation::Activation;
use candle_mish::checkpoint;
use candle_mish::data::Image;
use candle_mish_models::{self as models, ModelSpec, Stem};
use serde::Serialize;

use crate::args::range::{MAX_CLASSES, check_classes, count};
use crate::args::{FormArgs, NETWORK, OUTPUT, PreprocessArgs};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::{Network, Weights};
use crate::source::WeightsArgs;
use crate::{output, preprocessing};

/// The name of the tensor with images in a safetensors file.
const INPUT: &str = "input";

/// Flags of `mish predict`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct PredictArgs {
    /// The network's name, if the weights do not record it, then image files: PNG, JPEG, WebP,
    /// TIFF, BMP or PNM, or safetensors with a normalised tensor `input` [N, C, H, W]
    #[arg(required = true, value_name = "[NAME] IMAGE")]
    inputs: Vec<PathBuf>,
    #[command(flatten, next_help_heading = "Weights")]
    weights: WeightsArgs,
    /// Activation [default: from the weights]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    activation: Option<Activation>,
    /// First layers: cifar or imagenet [default: from the weights, or cifar for images of up to 64
    /// pixels]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    stem: Option<Stem>,
    #[command(flatten)]
    form: FormArgs,
    /// Number of classes [default: from the weights]
    #[arg(long, value_name = "N", help_heading = NETWORK, value_parser = count(1..=MAX_CLASSES))]
    num_classes: Option<usize>,
    /// Number of classes to print for each image
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = OUTPUT,
          value_parser = count(1..=MAX_CLASSES))]
    top: usize,
    /// Write the logits of all images to this JSON file and print no classes
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    logits: Option<PathBuf>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// The content of a file.
enum File<'a> {
    /// Preprocessed images.
    Ready(Vec<Input>),
    /// An image file. Its preprocessing depends on the network.
    Image(&'a Path),
}

/// A preprocessed image.
struct Input {
    name: String,
    /// [1, C, H, W]
    pixels: Tensor,
}

#[derive(Serialize)]
struct Answer<'a> {
    image: &'a str,
    classes: Vec<Class>,
}

#[derive(Serialize)]
struct Class {
    class: String,
    label: usize,
    probability: f32,
}

/// What `--logits` writes.
#[derive(Serialize)]
struct Logits<'a> {
    model: &'a str,
    activation: String,
    stem: Stem,
    images: Vec<&'a str>,
    /// A row for each image.
    logits: Vec<Vec<f32>>,
}

/// Classifies images and prints the result.
///
/// # Errors
/// If flags, weights or images are wrong.
pub fn run(args: &PredictArgs, context: &Context) -> anyhow::Result<Done> {
    let (name, files) = split(&args.inputs)?;
    let weights = args.weights.read(name, false, context)?;
    let model = weights.model(name)?;
    let activation = weights.activation(args.activation.as_ref())?;
    let files = files.iter().map(|file| read(file));
    let files = files.collect::<anyhow::Result<Vec<_>>>()?;
    let stem = match args.stem.or(weights.stem()?) {
        Some(stem) => stem,
        None => guess_stem(&model, &files, &weights, args)?,
    };
    let num_classes = match args.num_classes.or(weights.num_classes()?) {
        Some(num_classes) => num_classes,
        None => weights.infer_num_classes(&model, stem)?,
    };
    check_classes(num_classes)?;
    let mut spec = ModelSpec {
        activation,
        num_classes,
        stem,
        ..ModelSpec::new(model)
    };
    args.form.apply(&mut spec, &weights)?;
    let in_chans = spec.in_chans;
    let mut inputs = Vec::new();
    let mut preprocess = None;
    for file in files {
        match file {
            File::Ready(images) => inputs.extend(images),
            File::Image(path) => {
                preprocessing::check_channels(in_chans)?;
                let preprocess = match preprocess {
                    Some(preprocess) => preprocess,
                    None => *preprocess.insert(preprocessing::for_weights(
                        &weights,
                        &spec.model,
                        stem,
                        None,
                        &args.preprocess,
                    )?),
                };
                let image = Image::read(path)?;
                let image = match in_chans {
                    1 => image.into_grey(),
                    _ => image,
                };
                inputs.push(Input {
                    name: path.display().to_string(),
                    pixels: preprocess.tensor(&image)?,
                });
            }
        }
    }
    if inputs.is_empty() {
        bail!("the input holds no images");
    }
    for Input { name, pixels } in &inputs {
        let channels = pixels.dim(1)?;
        if channels != in_chans {
            return Err(usage(format!(
                "{name} has {channels} channels, the network takes {in_chans} (--in-chans)"
            )));
        }
    }
    let network = Network::load(&spec, &weights)?;
    let mut logits = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let row = network
            .frozen
            .forward_t(&input.pixels.to_device(network.store.device())?, false)?;
        let row = row.squeeze(0)?;
        if !row.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            bail!(
                "the logits of {} are not finite: the weights or the image hold NaN or infinity, or \
                 --activation or --stem differs from training",
                input.name
            );
        }
        logits.push(row);
    }
    match &args.logits {
        Some(path) => {
            let rows = logits.iter().map(|row| row.to_vec1());
            let answer = Logits {
                model: &spec.model,
                activation: activation.to_string(),
                stem,
                images: inputs.iter().map(|input| &*input.name).collect(),
                logits: rows.collect::<candle_core::Result<_>>()?,
            };
            output::json_file(path, &answer)?;
        }
        None => print_classes(args.top, &inputs, &logits, &weights, context)?,
    }
    Ok(Done::Complete)
}

/// The network's name, if the first argument is one, and the paths.
fn split(inputs: &[PathBuf]) -> anyhow::Result<(Option<&str>, &[PathBuf])> {
    let Some((first, rest)) = inputs.split_first() else {
        return Err(usage("give image files"));
    };
    match first.to_str() {
        Some(name) if !first.exists() && (models::find(name).is_ok() || !rest.is_empty()) => {
            if rest.is_empty() {
                return Err(usage(format!("give image files after {name}")));
            }
            if first.extension().is_some() {
                return Ok((None, inputs));
            }
            Ok((Some(name), rest))
        }
        _ => Ok((None, inputs)),
    }
}

/// The stem for the size of the first image.
fn guess_stem(
    model: &str,
    files: &[File],
    weights: &Weights,
    args: &PredictArgs,
) -> anyhow::Result<Stem> {
    match files.first() {
        Some(File::Ready(images)) if !images.is_empty() => {
            Ok(Stem::for_image_size(images[0].pixels.dim(2)?))
        }
        _ => {
            let size = args.preprocess.img_size.or(weights.image_size()?);
            preprocessing::default_stem(model, size)
        }
    }
}

/// The images of a file.
fn read(path: &Path) -> anyhow::Result<File<'_>> {
    let name = path.display();
    if path.extension().is_none_or(|e| e != "safetensors") {
        return Ok(File::Image(path));
    }
    let file = checkpoint::read(path)?;
    let Some(images) = file.tensors.get(INPUT) else {
        bail!("{name} has no tensor '{INPUT}'");
    };
    let Ok((count, ..)) = images.dims4() else {
        bail!(
            "{name}: tensor '{INPUT}' has shape {:?}, must be [N, C, H, W]",
            images.dims()
        );
    };
    let images = images.to_dtype(DType::F32)?;
    let input = |i: usize| -> anyhow::Result<Input> {
        Ok(Input {
            name: format!("{name}[{i}]"),
            pixels: images.narrow(0, i, 1)?,
        })
    };
    let images = (0..count).map(input).collect::<anyhow::Result<_>>()?;
    Ok(File::Ready(images))
}

/// Prints the most probable classes of each image.
fn print_classes(
    top: usize,
    inputs: &[Input],
    logits: &[Tensor],
    weights: &Weights,
    context: &Context,
) -> anyhow::Result<()> {
    let names = weights.classes()?.unwrap_or_default();
    let mut answers = Vec::new();
    for (input, logits) in inputs.iter().zip(logits) {
        let probabilities = candle_nn::ops::softmax(logits, D::Minus1)?;
        let probabilities = probabilities.to_vec1::<f32>()?;
        let mut ranked: Vec<(usize, f32)> = probabilities.into_iter().enumerate().collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let class = |(label, probability): (usize, f32)| Class {
            class: match names.get(label) {
                Some(name) => name.clone(),
                None => format!("class {label}"),
            },
            label,
            probability,
        };
        answers.push(Answer {
            image: &input.name,
            classes: ranked.into_iter().take(top).map(class).collect(),
        });
    }
    if context.json {
        return output::json(&answers);
    }
    let line = |answer: &Answer| {
        let classes = answer.classes.iter();
        let classes = classes.map(|c| format!("{} {:.1} %", c.class, 100.0 * c.probability));
        format!(
            "{}: {}\n",
            answer.image,
            classes.collect::<Vec<_>>().join(", ")
        )
    };
    output::text(&answers.iter().map(line).collect::<String>())
}
