//! `mish swap`: replaces the activation of a trained network and measures the effect.

mod args;
mod images;
mod save;
mod setting;
mod text;

use anyhow::{Context as _, bail};
use candle_mish::activation::{Activation, LayerActivations};
use candle_mish::data::{CheckedSplits, ImageSet, Loader, LoaderConfig};
use candle_mish::swap::{
    Budget, Distillation, FineTune, Replacement, SwapData, SwapOptions, study,
};
use candle_mish::train::Recipe;
use candle_mish_models::ModelSpec;
use candle_mish_models::swap::Subject;

use super::origin::Origin;
use crate::args::in_flags;
use crate::args::range::check_batch;
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::interrupt::stop_on_signal;
use crate::network::Weights;
use crate::output_file::{Content, OutputFile};
use crate::{classes, dataset, device, output, preprocessing};
pub use args::SwapArgs;

/// Evaluations between the first and the last step of fine-tuning.
const EVALUATIONS: usize = 4;
/// The default of `--correction-batches`.
const CORRECTION_BATCHES: usize = 16;
/// The default of `--temperature`.
const TEMPERATURE: f64 = 4.0;
/// The default of `--budget-images`.
const BUDGET_IMAGES: usize = 2000;
/// The default of `--budget-recalibrate`.
const BUDGET_BATCHES: usize = 8;

/// Measures each activation and prints a report.
///
/// # Errors
/// If flags, weights or data are wrong, or a measurement fails.
pub fn run(args: &SwapArgs, context: &Context) -> anyhow::Result<Done> {
    args.check()?;
    // Before hours of work, not after.
    let page = OutputFile::given("--html", &args.html, Content::Html)?;
    let (name, offline) = (args.model.as_deref(), args.data.offline);
    let weights = args
        .weights
        .read(name, args.network.activation, offline, context)?;
    check_activation(args, &weights)?;
    let spec = weights.spec(&args.network.model_args(name))?;
    let from = spec.activation;
    let to = replacements(args, &from)?;
    let mut origin = Origin::of(&weights, &spec.model, &args.data)?;
    preprocessing::resolve(&mut origin.data, &weights, &spec, &args.preprocess)?;
    let dataset = dataset::open(&origin.data, CheckedSplits::All, context)?;
    let dataset = classes::map(dataset, &origin.data, &weights, &spec)?.dataset;
    // The network during training.
    let spec = ModelSpec {
        drop_rate: origin.drop,
        drop_path_rate: origin.drop_path,
        ..spec
    };
    let model = spec.model.clone();
    let mut dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
    check_batch(
        args.batch_size
            .unwrap_or(origin.recipe.batch_size)
            .min(dataset.test.len()),
        &dataset.test,
    )?;
    let device = device::current()?;
    let tensors = weights.checkpoint.tensors.clone();
    let subject = Subject::new(spec.clone(), tensors, args.seed, device).map_err(usage)?;
    check_layers(args, &model, &from, &subject, &weights)?;
    let one_function =
        !from.is_learnable() && spec.layer_activations == LayerActivations::default();
    if args.fits() && !one_function {
        return Err(usage(
            "--correct constants and --approximate need the same activation in all layers, without \
             learned parameters",
        ));
    }
    let recipe = recipe(args, origin.recipe.clone())?;
    let normalisation = preprocessing::normalisation(&dataset, &weights, &args.preprocess)?;
    (dataset.mean, dataset.std) = normalisation;
    let loader = |images: &ImageSet, train: bool| {
        let (mean, std) = normalisation;
        let config = LoaderConfig::in_order(recipe.batch_size, mean, std);
        let config = match train {
            true => LoaderConfig {
                augmentation: recipe.augmentation(),
                seed: args.seed,
                ..config.shuffled()
            },
            false => config,
        };
        Loader::new(images.clone(), config).on(device)
    };
    let (train, test) = (loader(&dataset.train, true), loader(&dataset.test, false));
    let calibration = match &args.images {
        Some(folder) => loader(&images::read(folder, &dataset)?, true),
        None => train.clone(),
    };
    let fine_tune = training(
        args,
        &recipe,
        recipe.updates(train.batches_per_epoch()),
        (args.fine_tune_steps, args.fine_tune_epochs),
    )?;
    let distill = training(
        args,
        &recipe,
        recipe.updates(calibration.batches_per_epoch()),
        (args.distill_steps, args.distill),
    )?;
    let mut options = SwapOptions {
        layers: args.layers.clone(),
        recalibration_batches: recalibration(args, &calibration),
        corrections: args.corrections(),
        correction_batches: args.correction_batches.unwrap_or(CORRECTION_BATCHES),
        distillation: distill.map(|training| Distillation {
            training,
            temperature: args.temperature.unwrap_or(TEMPERATURE),
            feature_weight: args.feature_weight.unwrap_or(0.0),
        }),
        fine_tune,
        budget: args.budget.map(|points| Budget {
            points,
            images: args.budget_images.unwrap_or(BUDGET_IMAGES),
            recalibration_batches: match calibration.batches_per_epoch() {
                0 => 0,
                _ => args.budget_recalibrate.unwrap_or(BUDGET_BATCHES),
            },
        }),
        approximation_pieces: args.approximate.unwrap_or(0),
        layer_images: args.per_layer.unwrap_or(0),
        noise: args.noise(),
        fgsm: args.fgsm(),
        robustness_images: args.robustness.unwrap_or(0),
        seed: args.seed,
        ..SwapOptions::new(&model, from, &to)
    };
    let images = args.images.as_deref();
    options.setting = setting::setting(&options, &weights.path, &dataset, images, &recipe, context);
    if let Some(folder) = &args.save {
        options.save = Some(save::prepare(
            folder, &spec, &weights, &dataset, &origin, &recipe,
        )?);
    }
    let data = SwapData {
        train: &train,
        calibration: &calibration,
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
    // The page comes first, because stdout may be a closed pipe.
    if let Some(page) = page {
        page.write(report.page().as_bytes())?;
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
        [failure, ..] => bail!("{} is not complete: {}", failure.activation, failure.error),
    }
}

/// Refuses weights whose activation is unknown. It is not assumed, because a wrong assumption would
/// invalidate every figure.
fn check_activation(args: &SwapArgs, weights: &Weights) -> anyhow::Result<()> {
    if args.network.activation.is_none() && weights.own_activation()?.is_none() {
        return Err(usage(format!(
            "{} does not record its activation: name it with --activation",
            weights.origin
        )));
    }
    Ok(())
}

/// The activations of `--to` without duplicates and without the network's own. That one is the
/// control, which is always measured.
fn replacements(args: &SwapArgs, from: &Activation) -> anyhow::Result<Vec<Activation>> {
    let mut to: Vec<Activation> = Vec::new();
    for activation in args.to.iter().filter(|activation| *activation != from) {
        if !to.contains(activation) {
            to.push(*activation);
        }
    }
    if to.is_empty() {
        return Err(usage(format!(
            "--to {from}: the network already has this activation"
        )));
    }
    if args.to.contains(from) {
        tracing::warn!("--to {from}: the network's own activation is always measured");
    }
    Ok(to)
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
                "--layers {pattern}: no {own} layer has this path; `mish models {model}` shows all \
                 paths"
            )));
        }
    }
    Ok(())
}

/// The recipe for fine-tuning: the run's, overridden with the flags.
fn recipe(args: &SwapArgs, of_run: Recipe) -> anyhow::Result<Recipe> {
    let fine_tuning = of_run.for_trained_weights();
    let recipe = Recipe {
        lr: args.lr.unwrap_or(fine_tuning.lr),
        batch_size: args.batch_size.unwrap_or(fine_tuning.batch_size),
        seed: args.seed,
        ..fine_tuning
    };
    recipe.validate().map_err(in_flags)?;
    Ok(recipe)
}

/// A training of a number of steps or epochs.
fn training(
    args: &SwapArgs,
    recipe: &Recipe,
    updates_per_epoch: usize,
    duration: (Option<usize>, Option<f64>),
) -> anyhow::Result<Option<FineTune>> {
    let steps = match duration {
        (Some(steps), _) => steps,
        (None, Some(epochs)) => (epochs * updates_per_epoch as f64).round() as usize,
        (None, None) => return Ok(None),
    };
    if steps == 0 {
        return Err(usage(
            "--fine-tune-epochs and --distill: less than half a step",
        ));
    }
    Ok(Some(FineTune {
        steps,
        recipe: recipe.clone(),
        blend: args.blend_order(),
        evaluations: EVALUATIONS,
    }))
}

/// Batches for recalibration, or 0 if there are no images for it.
fn recalibration(args: &SwapArgs, images: &Loader) -> usize {
    if args.recalibrate > 0 && images.batches_per_epoch() == 0 {
        tracing::warn!("no recalibration: there are no training images");
        return 0;
    }
    args.recalibrate
}
