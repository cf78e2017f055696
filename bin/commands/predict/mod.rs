//! `mish predict`: classifies images, or writes their logits.
//!
//! Files are read ahead on another thread, the network takes them in batches, and results are
//! written at once: memory does not grow with the number of images.

mod args;
mod images;
mod inputs;
mod progress;
mod ranking;
mod writers;

use std::path::PathBuf;

use anyhow::bail;
use candle_core::{Device, Tensor};
use candle_mish::eval::Mirrored;
use candle_mish::nn::forward_in_parts;
use candle_mish_models::ModelSpec;
use candle_nn::ModuleT;

use crate::args::range::check_batch_of;
use crate::context::Context;
use crate::failure::{self, Done, usage};
use crate::network::{Network, Weights};
use crate::preprocessing;
use crate::table::counted;
pub use args::PredictArgs;
use images::{Chunk, Reader, is_preprocessed};
use inputs::Inputs;
use progress::Progress;
use ranking::Ranking;
use writers::{Results, classes, logits};

/// Classifies images and writes the result. Inputs that cannot be read are reported and left out.
///
/// # Errors
/// If flags or weights are wrong, the results cannot be written, or, at the end, if an input could not
/// be read.
pub fn run(args: &PredictArgs, context: &Context) -> anyhow::Result<Done> {
    let (name, arguments) = args.split()?;
    let format = args.format(context)?;
    args.check()?;
    let (files, without_files) = reported(Inputs::of(arguments))?;
    let weights = args
        .weights
        .read(name, args.network.activation, args.offline, context)?;
    let spec = weights.spec(&args.network.model_args(name))?;
    let has_images = files.iter().any(|file| !is_preprocessed(file));
    let preprocess = if has_images {
        preprocessing::check_channels(spec.in_chans)?;
        let preprocess = preprocessing::for_weights(&weights, &spec, None, &args.preprocess)?;
        let size = preprocess.input_size;
        let batch_size = args.batch_size.min(files.len());
        check_batch_of(batch_size, [spec.in_chans, size, size])?;
        preprocess
    } else {
        Default::default()
    };
    let network = Network::load(&spec, &weights)?;
    let results = match &args.logits {
        Some(path) => logits(path, &spec)?,
        None => {
            let ranking = Ranking::new(args.topk, class_names(args, &weights, &spec)?);
            classes(ranking, format, args.output.as_deref())?
        }
    };
    let reader = Reader {
        preprocess,
        decode: args.decode.options(),
        grey: spec.in_chans == 1,
        batch_size: args.batch_size,
    };
    let inference = network.for_inference(&spec)?;
    let mirrored = Mirrored(&*inference);
    let model: &(dyn ModuleT + Sync) = if args.tta { &mirrored } else { &*inference };
    let mut run = Run {
        model,
        weights: network.store.num_params(),
        device: network.store.device(),
        spec: &spec,
        results,
        only: files.len() == 1 && without_files == 0,
        read: 0,
        failed: 0,
        without_files,
    };
    let in_file = args.output.is_some() || args.logits.is_some();
    let progress = Progress::new(files.len(), in_file, context);
    std::thread::scope(|scope| {
        for chunk in reader.stream(scope, &files) {
            let files = chunk.files;
            run.add(chunk)?;
            progress.advance(files);
        }
        anyhow::Ok(())
    })?;
    drop(progress);
    run.finish()
}

/// Reports the inputs that name no file, and returns the files and the number of these inputs. If there
/// is nothing else, they are an error.
fn reported(inputs: Inputs) -> anyhow::Result<(Vec<PathBuf>, usize)> {
    let Inputs {
        files,
        mut problems,
    } = inputs;
    if files.is_empty() && problems.len() == 1 {
        return Err(problems.remove(0));
    }
    for problem in &problems {
        tracing::warn!("{}", failure::message(problem));
    }
    if files.is_empty() {
        bail!("{} could not be read", counted(problems.len(), "input"));
    }
    Ok((files, problems.len()))
}

/// The names of the classes, from the class map or the weights; empty if they are unknown.
fn class_names(
    args: &PredictArgs,
    weights: &Weights,
    spec: &ModelSpec,
) -> anyhow::Result<Vec<String>> {
    let Some(map) = &args.class_map else {
        return Ok(weights.classes()?.unwrap_or_default());
    };
    let (names, own) = (map.classes(), spec.num_classes);
    if names.len() > own {
        bail!(
            "the network has {own} classes, --class-map has {}",
            names.len()
        );
    }
    if map.named() < own {
        tracing::warn!(
            "--class-map names {} of the network's {own} classes: the others have no name",
            map.named()
        );
    }
    Ok(names)
}

/// A network in use and its results so far.
struct Run<'a> {
    model: &'a (dyn ModuleT + Sync),
    /// The number of its weights.
    weights: usize,
    device: &'a Device,
    spec: &'a ModelSpec,
    results: Box<dyn Results>,
    /// Whether there is only one file.
    only: bool,
    /// Images that have a result.
    read: usize,
    /// Files that could not be read.
    failed: usize,
    /// Inputs that name no file.
    without_files: usize,
}

impl Run<'_> {
    /// Runs the network on a chunk, writes the results, and reports files that could not be read.
    fn add(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        let mut names = Vec::with_capacity(chunk.images.len());
        let mut pixels = Vec::with_capacity(chunk.images.len());
        for image in chunk.images {
            match image.pixels {
                Ok(tensor) => {
                    self.check_channels(&image.name, &tensor)?;
                    names.push(image.name);
                    pixels.push(tensor);
                }
                Err(error) if self.only => return Err(error),
                Err(error) => {
                    tracing::warn!("{}", failure::message(&error));
                    self.failed += 1;
                }
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let batch = Tensor::cat(&pixels, 0)?.to_device(self.device)?;
        let logits = forward_in_parts(self.model, &batch, self.weights)?;
        for (name, logits) in names.iter().zip(logits.to_vec2::<f32>()?) {
            if !logits.iter().all(|logit| logit.is_finite()) {
                bail!(
                    "the logits of {name} are not finite: the weights or the image hold NaN or \
                     infinity, or --activation or --stem differs from training"
                );
            }
            self.results.add(name, &logits)?;
        }
        self.read += names.len();
        self.results.flush()
    }

    /// Refuses preprocessed images with other channels than the network's.
    fn check_channels(&self, name: &str, pixels: &Tensor) -> anyhow::Result<()> {
        let (channels, in_chans) = (pixels.dim(1)?, self.spec.in_chans);
        if channels != in_chans {
            return Err(usage(format!(
                "{name} has {}, the network takes {in_chans} (--in-chans)",
                counted(channels, "channel")
            )));
        }
        Ok(())
    }

    /// Completes the results, and fails if a file could not be read.
    fn finish(self) -> anyhow::Result<Done> {
        if self.read > 0 {
            self.results.finish()?;
        } else if self.failed == 0 {
            bail!("the input holds no images");
        }
        match (self.failed, self.without_files) {
            (0, 0) => Ok(Done::Complete),
            (files, 0) => bail!("{} could not be read", counted(files, "file")),
            (files, inputs) => bail!("{} could not be read", counted(files + inputs, "input")),
        }
    }
}
