//! `mish eval`: measures the accuracy of a trained network.

use anyhow::bail;
use candle_mish::activation::Activation;
use candle_mish::data::{Augmentation, CheckedSplits, Dataset, ImageSet, Loader, LoaderConfig};
use candle_mish::eval::{Evaluation, evaluate};
use candle_mish_models::{ModelSpec, Stem};
use serde::Serialize;

use super::origin::Origin;
use crate::args::range::{MAX_BATCH, MAX_CLASSES, check_batch, check_classes, count};
use crate::args::{DataArgs, FormArgs, NETWORK, PreprocessArgs};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::Network;
use crate::source::WeightsArgs;
use crate::{dataset, output, preprocessing};

/// Flags of `mish eval`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct EvalArgs {
    /// The network [default: from the weights]
    model: Option<String>,
    // The data set and the batch size default to those of the run that the weights belong to.
    #[command(flatten, next_help_heading = "Weights")]
    weights: WeightsArgs,
    /// Activation [default: from the weights]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    activation: Option<Activation>,
    /// Number of classes [default: from the weights, or from the data set]
    #[arg(long, value_name = "N", help_heading = NETWORK, value_parser = count(1..=MAX_CLASSES))]
    num_classes: Option<usize>,
    /// First layers: cifar or imagenet [default: from the weights, or cifar for images of up to 64
    /// pixels]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    stem: Option<Stem>,
    #[command(flatten)]
    form: FormArgs,
    /// Images to evaluate: test, validation or train
    #[arg(
        long,
        value_name = "NAME",
        default_value = "test",
        help_heading = "Data"
    )]
    split: Split,
    /// Images per batch [default: the batch size of the weights' run, which reproduces its figures
    /// exactly]
    #[arg(long, short, value_name = "N", help_heading = "Data",
          value_parser = count(1..=MAX_BATCH))]
    batch_size: Option<usize>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    Test,
    Validation,
    Train,
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    activation: String,
    dataset: &'a str,
    split: Split,
    params: usize,
    #[serde(flatten)]
    evaluation: Evaluation,
    seconds: f64,
    images_per_second: f64,
}

/// Evaluates a network and prints the result.
///
/// # Errors
/// If flags, weights or data are wrong.
pub fn run(args: &EvalArgs, context: &Context) -> anyhow::Result<Done> {
    let (name, offline) = (args.model.as_deref(), args.data.offline);
    let weights = args.weights.read(name, offline, context)?;
    let model = weights.model(args.model.as_deref())?;
    let activation = weights.activation(args.activation.as_ref())?;
    let Origin {
        data: mut options,
        recipe,
        ..
    } = Origin::of(&weights, &model, &args.data)?;
    preprocessing::resolve(&mut options, &weights, &model, args.stem, &args.preprocess)?;
    let checked = match args.split {
        Split::Test => CheckedSplits::Test,
        Split::Validation | Split::Train => CheckedSplits::All,
    };
    let dataset = dataset::open(&options, checked, context)?;
    preprocessing::compare_classes(&dataset, &weights)?;
    let classes = dataset.classes.len();
    let num_classes = args
        .num_classes
        .or(weights.num_classes()?)
        .unwrap_or(classes);
    check_classes(num_classes)?;
    if num_classes < classes {
        bail!(
            "{} has {num_classes} classes, {} has {classes}",
            weights.origin,
            dataset.name
        );
    }
    let stem = args.stem.or(weights.stem()?);
    let stem = stem.unwrap_or_else(|| Stem::for_image_size(dataset.test.height()));
    let mut spec = ModelSpec {
        activation,
        num_classes,
        stem,
        ..ModelSpec::new(&*model)
    };
    args.form.apply(&mut spec, &weights)?;
    let dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
    let images = images(&dataset, args.split)?.clone();
    let batch_size = args.batch_size.unwrap_or(recipe.batch_size);
    check_batch(batch_size.min(images.len()), &images)?;
    let network = Network::load(&spec, &weights)?;
    let (mean, std) = preprocessing::normalisation(&dataset, &weights, &args.preprocess)?;
    let config = LoaderConfig {
        batch_size,
        shuffle: false,
        drop_last: false,
        augmentation: Augmentation::none(),
        mean,
        std,
        seed: 0,
    };
    let loader = Loader::new(images, config);
    let loader = loader.on(network.store.device());
    let batches = loader.epoch(0, 0);
    let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.labels)));
    let clock = std::time::Instant::now();
    let evaluation = evaluate(&*network.frozen, batches)?;
    let seconds = clock.elapsed().as_secs_f64();
    let answer = Answer {
        model: &model,
        activation: activation.to_string(),
        dataset: &dataset.name,
        split: args.split,
        params: network.store.num_params(),
        evaluation,
        seconds,
        images_per_second: evaluation.images as f64 / seconds,
    };
    if context.json {
        output::json(&answer)?;
    } else {
        output::text(&format!(
            "{model} with {activation} on {} images of {}: top-1 {:.2} %, top-5 {:.2} %, loss {:.4}; {:.0} img/s",
            evaluation.images,
            dataset.name,
            100.0 * evaluation.top1,
            100.0 * evaluation.top5,
            evaluation.loss,
            answer.images_per_second,
        ))?;
    }
    Ok(Done::Complete)
}

fn images(dataset: &Dataset, split: Split) -> anyhow::Result<&ImageSet> {
    match split {
        Split::Test => Ok(&dataset.test),
        Split::Train if dataset.train.is_empty() => {
            Err(usage("--split train: the data set has no training images"))
        }
        Split::Train => Ok(&dataset.train),
        Split::Validation => dataset
            .validation
            .as_ref()
            .ok_or_else(|| usage("--split validation needs --val-split")),
    }
}
