//! `mish predict`: names the class of an image, or writes a network's logits.

use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_core::{D, DType, Tensor};
use candle_mish::activation::Activation;
use candle_mish::checkpoint;
use candle_mish::data::Image;
use candle_mish_models::{self as models, Stem};
use serde::Serialize;

use crate::args::{FormArgs, PreprocessArgs, positive};
use crate::failure::{Done, usage};
use crate::network::{Architecture, Network, Weights, stem_for};
use crate::source::WeightsArgs;
use crate::{Context, output, pictures};

/// The tensor of an input file.
const INPUT: &str = "input";

/// Flags of `mish predict`.
#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// The network, unless the weights name it, and the images: PNG, JPEG, WebP, TIFF,
    /// BMP, PNM, or a safetensors file with a tensor `input` [N, C, H, W] that is already normalised
    #[arg(required = true, value_name = "[NAME] IMAGE")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    weights: WeightsArgs,
    /// The activation [default: the one that the weights name]
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// The first layers, cifar or imagenet [default: what the weights say, or cifar for images of
    /// up to 64 pixels]
    #[arg(long, value_name = "NAME")]
    stem: Option<Stem>,
    #[command(flatten)]
    form: FormArgs,
    /// Classes to name for each image
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = positive)]
    top: usize,
    /// Classes of the network [default: what the weights say]
    #[arg(long, value_name = "N", value_parser = positive)]
    num_classes: Option<usize>,
    /// Write the logits of all images to this JSON file instead of naming classes
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// What a file holds.
enum File<'a> {
    /// Images that are ready for the network.
    Ready(Vec<Input>),
    /// A picture that has to be brought to the network's size, which is not known yet.
    Picture(&'a Path),
}

/// An image ready for the network.
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

/// Predicts.
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
        None => weights.classifier_rows(&model, stem)?,
    };
    let mut architecture = Architecture::evaluated(model, activation, num_classes, stem);
    args.form.apply(&mut architecture, &weights)?;
    let in_chans = architecture.in_chans;
    let mut inputs = Vec::new();
    let mut preprocess = None;
    for file in files {
        match file {
            File::Ready(images) => inputs.extend(images),
            File::Picture(path) => {
                pictures::check_channels(in_chans)?;
                let preprocess = match preprocess {
                    Some(preprocess) => preprocess,
                    None => *preprocess.insert(pictures::for_weights(
                        &weights,
                        &architecture.model,
                        stem,
                        None,
                        &args.preprocess,
                    )?),
                };
                let picture = Image::read(path)?;
                let picture = match in_chans {
                    1 => picture.into_grey(),
                    _ => picture,
                };
                inputs.push(Input {
                    name: path.display().to_string(),
                    pixels: preprocess.tensor(&picture)?,
                });
            }
        }
    }
    if inputs.is_empty() {
        bail!("there are no images");
    }
    for Input { name, pixels } in &inputs {
        let channels = pixels.dim(1)?;
        if channels != in_chans {
            return Err(usage(format!(
                "{name} has {channels} channels, the network takes {in_chans}; see --in-chans"
            )));
        }
    }
    let network = Network::load(&architecture, &weights)?;
    let mut logits = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let row = network
            .frozen
            .forward_t(&input.pixels.to_device(network.store.device())?, false)?;
        let row = row.squeeze(0)?;
        if !row.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            bail!(
                "the logits of {} are not finite: the weights or the image hold NaN or infinity, or \
                 another activation or stem was trained",
                input.name
            );
        }
        logits.push(row);
    }
    match &args.logits {
        Some(path) => {
            let rows = logits.iter().map(|row| row.to_vec1());
            let answer = Logits {
                model: &architecture.model,
                activation: activation.to_string(),
                stem,
                images: inputs.iter().map(|input| &*input.name).collect(),
                logits: rows.collect::<candle_core::Result<_>>()?,
            };
            output::json_file(path, &answer)?;
        }
        None => name_classes(args.top, &inputs, &logits, &weights, context)?,
    }
    Ok(Done::Complete)
}

/// The network's name, if the first argument is one, and the files.
fn split(inputs: &[PathBuf]) -> anyhow::Result<(Option<&str>, &[PathBuf])> {
    let Some((first, rest)) = inputs.split_first() else {
        return Err(usage("name the images"));
    };
    match first.to_str() {
        Some(name) if !first.exists() && (models::find(name).is_ok() || !rest.is_empty()) => {
            if rest.is_empty() {
                return Err(usage(format!("name images for {name} to look at")));
            }
            if first.extension().is_some() {
                return Ok((None, inputs));
            }
            Ok((Some(name), rest))
        }
        _ => Ok((None, inputs)),
    }
}

/// The stem that suits the first images.
fn guess_stem(
    model: &str,
    files: &[File],
    weights: &Weights,
    args: &PredictArgs,
) -> anyhow::Result<Stem> {
    match files.first() {
        Some(File::Ready(images)) if !images.is_empty() => Ok(stem_for(images[0].pixels.dim(2)?)),
        _ => {
            let size = args.preprocess.img_size.or(weights.image_size()?);
            pictures::default_stem(model, size)
        }
    }
}

/// The images of a file.
fn read(path: &Path) -> anyhow::Result<File<'_>> {
    let name = path.display();
    if path.extension().is_none_or(|e| e != "safetensors") {
        return Ok(File::Picture(path));
    }
    let file = checkpoint::read(path)?;
    let Some(images) = file.tensors.get(INPUT) else {
        bail!("{name} has no tensor '{INPUT}'");
    };
    let Ok((count, ..)) = images.dims4() else {
        bail!(
            "{name}: '{INPUT}' is {:?}, must be [N, C, H, W]",
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

/// Prints the likeliest classes of each image.
fn name_classes(
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
