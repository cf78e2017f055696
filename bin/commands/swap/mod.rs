//! `mish swap`: puts other activations into trained weights and measures what they do.

mod setting;
mod text;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use candle_mish::activation::Activation;
use candle_mish::checkpoint::{check_writable, write_atomically};
use candle_mish::data::{self, Augmentation, Dataset, ImageSet, Loader, LoaderConfig};
use candle_mish::swap::{FineTune, Replacement, SwapData, SwapOptions, study};
use candle_mish::train::Recipe;
use candle_mish_models::swap::Subject;
use candle_mish_models::{Options, Stem};

use super::eval::Origin;
use crate::args::{DataArgs, PreprocessArgs, positive};
use crate::failure::{Done, usage};
use crate::interrupt::stop_on_signal;
use crate::network::{COLOURS, Weights, check_name, stem_for};
use crate::source::WeightsArgs;
use crate::{Context, device, output, pictures};

/// Evaluations between the first and the last step of fine-tuning.
const EVALUATIONS: usize = 4;

/// Flags of `mish swap`.
#[derive(Debug, clap::Args)]
pub struct SwapArgs {
    /// The network [default: the one that the weights name]
    model: Option<String>,
    /// If they lie in a run folder, images and recipe are those of the run
    #[command(flatten)]
    weights: WeightsArgs,
    /// The activations to put in, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    to: Vec<Activation>,
    /// The activation of the weights [default: the one that they name]
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// The first layers, cifar or imagenet [default: what the weights say, or by the images' size]
    #[arg(long, value_name = "NAME")]
    stem: Option<Stem>,
    /// Swap only the activation layers at these paths, where * stands for any text; `mish models
    /// NAME` shows the paths [default: all]
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    layers: Vec<String>,
    /// Images per batch [default: that of the run]
    #[arg(long, short, value_name = "N", value_parser = positive)]
    batch_size: Option<usize>,
    /// Seeds the order and augmentation of the training images, the draw of images and the noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Training batches, augmented as in training, over which batch-norm statistics are measured
    /// anew; 0 for leaving it out
    #[arg(long, value_name = "N", default_value_t = 100)]
    recalibrate: usize,
    /// Train with each activation for so many passes over the training images
    #[arg(long, value_name = "N", conflicts_with = "fine_tune_steps")]
    fine_tune_epochs: Option<f64>,
    /// Train with each activation for so many steps
    #[arg(long, value_name = "N", value_parser = positive)]
    fine_tune_steps: Option<usize>,
    /// The (highest) learning rate of fine-tuning [default: a fifteenth of the run's]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Go from the old activation to the new one over the first half of fine-tuning, beginning
    /// with the weights as they are, without recalibration
    #[arg(long)]
    blend: bool,
    /// Also swap one stage and one layer at a time, measured on so many images
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000")]
    per_layer: Option<usize>,
    /// Also measure on so many disturbed images
    #[arg(long, value_name = "IMAGES", num_args = 0..=1, default_missing_value = "2000")]
    robustness: Option<usize>,
    /// Standard deviations of the noise, in parts of a pixel's range [default: 0.02,0.05,0.1]
    #[arg(
        long,
        value_name = "STRENGTHS",
        value_delimiter = ',',
        requires = "robustness"
    )]
    noise: Option<Vec<f64>>,
    /// Steps of FGSM, in parts of a pixel's range [default: 0.5, 1 and 2 of 255]
    #[arg(
        long,
        value_name = "STRENGTHS",
        value_delimiter = ',',
        requires = "robustness"
    )]
    fgsm: Option<Vec<f64>>,
    /// Write the report as a web page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

impl SwapArgs {
    fn noise(&self) -> Vec<f64> {
        self.noise.clone().unwrap_or_else(|| vec![0.02, 0.05, 0.1])
    }

    fn fgsm(&self) -> Vec<f64> {
        let usual = || [0.5, 1.0, 2.0].map(|steps| steps / 255.0).to_vec();
        self.fgsm.clone().unwrap_or_else(usual)
    }

    fn fine_tunes(&self) -> bool {
        self.fine_tune_epochs.is_some() || self.fine_tune_steps.is_some()
    }
}

/// Studies.
pub fn run(args: &SwapArgs, context: &Context) -> anyhow::Result<Done> {
    check(args)?;
    let (name, offline) = (args.model.as_deref(), args.data.offline);
    let weights = args.weights.read(name, offline, context)?;
    let model = weights.model(args.model.as_deref())?;
    check_name(&model)?;
    let from = activation(args, &weights)?;
    let to = replacements(args, &from)?;
    let mut origin = Origin::of(&weights, &model, &args.data)?;
    pictures::resolve(
        &mut origin.data,
        &weights,
        &model,
        args.stem,
        &args.preprocess,
    )?;
    let dataset = data::open(&origin.data)?;
    pictures::compare_classes(&dataset, &weights)?;
    let options = options(args, &weights, from, &origin, &dataset)?;
    let dataset = pictures::with_channels(dataset, options.in_channels)?;
    let device = device::current()?;
    let tensors = weights.checkpoint.tensors.clone();
    let subject = Subject::new(&model, options, tensors, args.seed, device).map_err(usage)?;
    check_layers(args, &model, &from, &subject, &weights)?;
    let recipe = recipe(args, origin.recipe)?;
    let normalisation = pictures::normalisation(&dataset, &weights, &args.preprocess)?;
    let loader = |images: &ImageSet, train: bool| {
        let config = LoaderConfig {
            batch_size: recipe.batch_size,
            shuffle: train,
            drop_last: train,
            augmentation: match train {
                true => recipe.augmentation(),
                false => Augmentation::none(),
            },
            mean: normalisation.0,
            std: normalisation.1,
            seed: args.seed,
        };
        Loader::new(images.clone(), config).on(device)
    };
    let (train, test) = (loader(&dataset.train, true), loader(&dataset.test, false));
    let fine_tune = fine_tune(args, &recipe, train.batches_per_epoch())?;
    let mut options = SwapOptions {
        layers: args.layers.clone(),
        recalibration_batches: recalibration(args, &train),
        fine_tune,
        layer_images: args.per_layer.unwrap_or(0),
        noise: args.noise(),
        fgsm: args.fgsm(),
        robustness_images: args.robustness.unwrap_or(0),
        seed: args.seed,
        ..SwapOptions::new(&model, from, &to)
    };
    options.setting = setting::setting(&options, &weights.path, &dataset, &recipe, context);
    let data = SwapData {
        train: &train,
        test: &test,
        normalisation,
    };
    let build = |replacement: Option<&Replacement>| {
        subject.variant(replacement).map_err(|error| {
            candle_core::Error::Msg(format!("{}: {error}", weights.path.display()))
        })
    };
    let stop = stop_on_signal()?;
    let report = study(
        &build,
        &options,
        &data,
        &mut |what| eprintln!("{what}"),
        &stop,
    )?;
    // The page first: a reader of the table that goes away must not cost it.
    if let Some(path) = &args.html {
        let page = report.page();
        write_atomically(path, |file| file.write_all(page.as_bytes()))
            .with_context(|| path.display().to_string())?;
    }
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&text::text(&report))?;
    }
    if report.interrupted {
        return Ok(Done::Interrupted);
    }
    match report.failures.as_slice() {
        [] => Ok(Done::Complete),
        [failure, ..] => bail!(
            "{} was not completed: {}",
            failure.activation,
            failure.error
        ),
    }
}

/// Refuses values that no study can have, before anything is read.
fn check(args: &SwapArgs) -> anyhow::Result<()> {
    let strength =
        |flag: &str, values: &[f64]| match values.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            Some(value) => Err(usage(format!("{flag} {value}: must be between 0 and 1"))),
            None => Ok(()),
        };
    strength("--noise", &args.noise())?;
    strength("--fgsm", &args.fgsm())?;
    if let Some(epochs) = args.fine_tune_epochs
        && !(epochs > 0.0 && epochs < 1e6)
    {
        return Err(usage(format!(
            "--fine-tune-epochs {epochs}: must be positive"
        )));
    }
    if !args.fine_tunes() {
        let needs = |flag| {
            Err(usage(format!(
                "{flag} needs --fine-tune-epochs or --fine-tune-steps"
            )))
        };
        if args.blend {
            return needs("--blend");
        }
        if args.lr.is_some() {
            return needs("--lr");
        }
    }
    match &args.html {
        // Better now than after hours of work.
        Some(path) => check_writable(path).with_context(|| format!("--html {}", path.display())),
        None => Ok(()),
    }
}

/// The activation that the weights were trained with: to guess it would make every figure wrong.
fn activation(args: &SwapArgs, weights: &Weights) -> anyhow::Result<Activation> {
    if args.activation.is_none() && weights.own_activation()?.is_none() {
        return Err(usage(format!(
            "{} does not say which activation it was trained with: name it with --activation",
            weights.path.display()
        )));
    }
    weights.activation(args.activation.as_ref())
}

/// The activations of `--to`, each once and without the one that is there: as the control it is
/// measured in any case.
fn replacements(args: &SwapArgs, from: &Activation) -> anyhow::Result<Vec<Activation>> {
    let mut to: Vec<Activation> = Vec::new();
    for activation in args.to.iter().filter(|activation| *activation != from) {
        if !to.contains(activation) {
            to.push(*activation);
        }
    }
    if to.is_empty() {
        return Err(usage(format!(
            "--to: {from} is the activation of the weights"
        )));
    }
    if args.to.contains(from) {
        tracing::warn!("--to {from}: the weights' own, which is measured in any case");
    }
    Ok(to)
}

/// The network as it was trained.
fn options(
    args: &SwapArgs,
    weights: &Weights,
    from: Activation,
    origin: &Origin,
    dataset: &Dataset,
) -> anyhow::Result<Options> {
    let classes = dataset.classes.len();
    let num_classes = weights.num_classes()?.unwrap_or(classes);
    if num_classes < classes {
        bail!(
            "{} is of {num_classes} classes, {} has {classes}",
            weights.path.display(),
            dataset.name
        );
    }
    let stem = args.stem.or(weights.stem()?);
    Ok(Options {
        activation: from,
        gate: weights.gate()?,
        num_classes,
        in_channels: weights.in_chans()?.unwrap_or(COLOURS),
        stem: stem.unwrap_or_else(|| stem_for(dataset.test.height())),
        drop_rate: origin.drop,
        drop_path_rate: origin.drop_path,
        ..Options::default()
    })
}

/// Refuses patterns that no activation layer of the network matches.
fn check_layers(
    args: &SwapArgs,
    model: &str,
    own: &Activation,
    subject: &Subject,
    weights: &Weights,
) -> anyhow::Result<()> {
    for pattern in &args.layers {
        let found = subject.has_activation_at(pattern);
        if !found.with_context(|| weights.path.display().to_string())? {
            let own = own.name();
            return Err(usage(format!(
                "--layers {pattern}: {model} has no {own} there; `mish models {model}` shows its \
                 layers"
            )));
        }
    }
    Ok(())
}

/// The recipe of the run with what fine-tuning has otherwise.
fn recipe(args: &SwapArgs, of_run: Recipe) -> anyhow::Result<Recipe> {
    let gentle = of_run.for_trained_weights();
    let recipe = Recipe {
        lr: args.lr.unwrap_or(gentle.lr),
        batch_size: args.batch_size.unwrap_or(gentle.batch_size),
        seed: args.seed,
        ..gentle
    };
    recipe.validate().map_err(usage)?;
    Ok(recipe)
}

fn fine_tune(
    args: &SwapArgs,
    recipe: &Recipe,
    batches_per_epoch: usize,
) -> anyhow::Result<Option<FineTune>> {
    let steps = match (args.fine_tune_steps, args.fine_tune_epochs) {
        (Some(steps), _) => steps,
        (None, Some(epochs)) => (epochs * batches_per_epoch as f64).round() as usize,
        (None, None) => return Ok(None),
    };
    if steps == 0 {
        return Err(usage(
            "--fine-tune-epochs: that is less than a batch of the training images",
        ));
    }
    Ok(Some(FineTune {
        steps,
        recipe: recipe.clone(),
        blend: args.blend,
        evaluations: EVALUATIONS,
    }))
}

/// Batches for recalibration: none where there are no training images to take them from.
fn recalibration(args: &SwapArgs, train: &Loader) -> usize {
    if args.recalibrate > 0 && train.batches_per_epoch() == 0 {
        tracing::warn!("no recalibration: there are fewer training images than a batch");
        return 0;
    }
    args.recalibrate
}
