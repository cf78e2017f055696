//! `mish eval`: measures the accuracy of a trained network.

use candle_mish::data::{CheckedSplits, Dataset, ImageSet, Loader, LoaderConfig};
use candle_mish::eval::{Evaluation, Mirrored, evaluate, evaluate_subset};
use candle_mish_models::ModelSpec;
use candle_nn::ModuleT;
use serde::Serialize;

use super::origin::Origin;
use crate::args::range::{MAX_BATCH, check_batch, count};
use crate::args::{DataArgs, NetworkArgs, PreprocessArgs};
use crate::classes::{self, Mapped};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::Network;
use crate::source::WeightsArgs;
use crate::table::thousands;
use crate::{dataset, output, preprocessing};

/// Flags of `mish eval`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct EvalArgs {
    /// The network [default: from the weights]
    model: Option<String>,
    // The data set and the batch size default to what the run used that trained the weights.
    #[command(flatten, next_help_heading = "Weights")]
    weights: WeightsArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// Images to evaluate: test, validation or train
    #[arg(
        long,
        value_name = "NAME",
        default_value = "test",
        help_heading = "Data"
    )]
    split: Split,
    /// Images per batch [default: the batch size of the weights' run, which reproduces its results
    /// exactly]
    #[arg(long, short, value_name = "N", help_heading = "Data",
          value_parser = count(1..=MAX_BATCH))]
    batch_size: Option<usize>,
    /// Average the logits over each image and its mirror image (test-time augmentation)
    #[arg(long, help_heading = "Data")]
    tta: bool,
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
    /// Whether the logits are means over each image and its mirror image.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tta: bool,
    params: usize,
    #[serde(flatten)]
    evaluation: Evaluation,
    /// Present if the data set does not have all classes of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    subset: Option<Subset>,
    seconds: f64,
    images_per_second: f64,
}

/// The evaluation among the classes of the data set alone.
#[derive(Serialize)]
struct Subset {
    classes: usize,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Evaluates a network and prints the result.
///
/// # Errors
/// If flags, weights or data are wrong.
pub fn run(args: &EvalArgs, context: &Context) -> anyhow::Result<Done> {
    let (name, offline) = (args.model.as_deref(), args.data.offline);
    let weights = args
        .weights
        .read(name, args.network.activation, offline, context)?;
    let spec = weights.spec(&args.network.model_args(name))?;
    let Origin {
        data: mut options,
        recipe,
        ..
    } = Origin::of(&weights, &spec.model, &args.data)?;
    preprocessing::resolve(&mut options, &weights, &spec, &args.preprocess)?;
    let checked = match args.split {
        Split::Test => CheckedSplits::Test,
        Split::Validation | Split::Train => CheckedSplits::All,
    };
    let dataset = dataset::open(&options, checked, context)?;
    let Mapped { dataset, subset } = classes::map(dataset, &options, &weights, &spec)?;
    let dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
    let images = images(&dataset, args.split)?.clone();
    let batch_size = args.batch_size.unwrap_or(recipe.batch_size);
    check_batch(batch_size.min(images.len()), &images)?;
    let network = Network::load(&spec, &weights)?;
    let (mean, std) = preprocessing::normalisation(&dataset, &weights, &args.preprocess)?;
    let config = LoaderConfig::in_order(batch_size, mean, std);
    let loader = Loader::new(images, config);
    let loader = loader.on(network.store.device());
    let batches = loader.epoch(0, 0);
    let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.labels)));
    let clock = std::time::Instant::now();
    let frozen = network.for_evaluation(&spec)?;
    let mirrored = Mirrored(&*frozen);
    let model: &dyn ModuleT = if args.tta { &mirrored } else { &*frozen };
    let (evaluation, subset) = match subset {
        None => (evaluate(model, batches)?, None),
        Some(classes) => {
            let (all, among) = evaluate_subset(model, batches, &classes)?;
            let subset = Subset {
                classes: classes.len(),
                evaluation: among,
            };
            (all, Some(subset))
        }
    };
    let seconds = clock.elapsed().as_secs_f64();
    let answer = Answer {
        model: &spec.model,
        activation: spec.activation.to_string(),
        dataset: &dataset.name,
        split: args.split,
        tta: args.tta,
        params: network.store.num_params(),
        evaluation,
        subset,
        seconds,
        images_per_second: evaluation.images as f64 / seconds,
    };
    if context.json {
        output::json(&answer)?;
    } else {
        output::text(&text(&answer, &spec))?;
    }
    Ok(Done::Complete)
}

/// The result in one line, or in two on a subset of the classes.
fn text(answer: &Answer, spec: &ModelSpec) -> String {
    let figures = |evaluation: &Evaluation| {
        format!(
            "top-1 {:.2} %, top-5 {:.2} %, loss {:.4}",
            100.0 * evaluation.top1,
            100.0 * evaluation.top5,
            evaluation.loss
        )
    };
    let mirrored = if answer.tta {
        " and their mirror images"
    } else {
        ""
    };
    let whole = format!(
        "{} with {} on {} images of {}{mirrored}: {}; {:.0} img/s",
        answer.model,
        answer.activation,
        thousands(answer.evaluation.images as u64),
        answer.dataset,
        figures(&answer.evaluation),
        answer.images_per_second,
    );
    let Some(subset) = &answer.subset else {
        return whole;
    };
    format!(
        "{whole}\namong the {} of {} classes that {} has: {}",
        subset.classes,
        spec.num_classes,
        answer.dataset,
        figures(&subset.evaluation)
    )
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
