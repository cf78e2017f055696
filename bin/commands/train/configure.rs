//! The configuration of a run, from flags, recipes and trained weights.

use candle_mish::activation::Activation;
use candle_mish::data::{DataOptions, DatasetKind};
use candle_mish::train::RunFolder;
use candle_mish_models as models;

use super::args::TrainArgs;
use super::family::{Family, program};
use crate::args::range::check_classes;
use crate::config::{Config, read_recipe};
use crate::context::Context;
use crate::failure::usage;
use crate::network::{COLOURS, Weights};
use crate::preprocessing;
use crate::source::{self, Fetched};

/// The configuration of a run, and the trained weights to start from, if any. The run to resume or
/// else the recipe and the defaults supply what no flag gives.
///
/// # Errors
/// If flags contradict each other or the run to resume, or a file cannot be read.
pub(super) fn configure(
    args: &TrainArgs,
    family: Option<&Family>,
    context: &Context,
) -> anyhow::Result<(Config, Option<Fetched>)> {
    let saved = match &args.resume {
        None => None,
        Some(folder) => {
            // Reports a missing file. The session locks the folder later.
            drop(RunFolder::open(folder)?);
            Some(Config::read(folder)?)
        }
    };
    let mut config = match &saved {
        Some(saved) => saved.clone(),
        None => new_config(args, default_model(args, family)?)?,
    };
    if let Some(model) = &args.model {
        config.model.clone_from(model);
    }
    let pretrained = match &args.pretrained {
        Some(text) => Some(source::fetch(
            Some(&config.model),
            text,
            args.data.offline,
            context,
        )?),
        None => None,
    };
    if let Some(Fetched { weights, origin }) = &pretrained {
        config.begin_with(weights, origin, args.activation.as_ref())?;
        // A classifier that trains alone starts from random weights, and a recipe file sets its own
        // rate.
        let freeze = args.recipe.freeze_backbone || config.recipe.freeze_backbone;
        if !freeze && args.recipe.recipe.is_none() {
            config.recipe = config.recipe.for_trained_weights();
        }
    }
    if let Some(activation) = &args.activation {
        config.activation = *activation;
    }
    config.num_classes = args.num_classes.or(config.num_classes);
    config.stem = args.stem.or(config.stem);
    config.in_chans = args.form.in_chans.unwrap_or(config.in_chans);
    config.gate = args.form.gate.or(config.gate);
    preprocessing::check_channels(config.in_chans)?;
    config.num_classes.map_or(Ok(()), check_classes)?;
    config.drop = args.drop.unwrap_or(config.drop);
    config.drop_path = args.drop_path.unwrap_or(config.drop_path);
    args.recipe.apply(&mut config.recipe);
    let started_with = config.data.dataset;
    args.data.apply(&mut config.data);
    let weights = pretrained.as_ref().map(|fetched| &fetched.weights);
    configure_preprocessing(args, weights, &mut config)?;
    if let Some(saved) = &saved {
        // The run recorded which data set `auto` was.
        if config.data.dataset == DatasetKind::Auto {
            config.data.dataset = started_with;
        }
        config.check_same_run(saved)?;
    }
    config.recipe.validate().map_err(usage)?;
    let alone = config.recipe.freeze_backbone || config.recipe.head_warmup_epochs > 0.0;
    if alone && config.pretrained.is_none() {
        return Err(usage(
            "--freeze-backbone and --head-warmup-epochs need --pretrained: a classifier learns \
             little from random features",
        ));
    }
    let entry = models::find(&config.model).map_err(usage)?;
    if let Some(family) = family.filter(|family| family.name != entry.family) {
        let (model, own) = (&config.model, entry.family);
        return Err(usage(format!(
            "{} trains the {} family; {model} belongs to {own}: use {}",
            family.program,
            family.name,
            program(own)
        )));
    }
    Ok((config, pretrained))
}

/// Sets how image files become the network's input, and the stem for images of that size.
fn configure_preprocessing(
    args: &TrainArgs,
    pretrained: Option<&Weights>,
    config: &mut Config,
) -> anyhow::Result<()> {
    if !preprocessing::has_image_files(&config.data) {
        if args.preprocess.mean.is_some() || args.preprocess.std.is_some() {
            return Err(usage("--mean and --std need --dataset folder:PATH"));
        }
        return preprocessing::refuse(&args.preprocess);
    }
    let stem = match config.stem {
        Some(stem) => stem,
        None => preprocessing::default_stem(&config.model, args.preprocess.img_size)?,
    };
    config.stem = Some(stem);
    // The preprocessing includes the normalisation.
    (config.mean, config.std) = (None, None);
    match &mut config.data.preprocess {
        Some(preprocess) => args.preprocess.apply(preprocess),
        none => {
            let new = match pretrained {
                Some(weights) => {
                    let model = &config.model;
                    preprocessing::for_weights(weights, model, stem, None, &args.preprocess)?
                }
                None => preprocessing::for_training(&config.model, stem, &args.preprocess)?,
            };
            *none = Some(new);
            Ok(())
        }
    }
}

/// The configuration of a new run of `model`, before any flag.
fn new_config(args: &TrainArgs, model: String) -> anyhow::Result<Config> {
    let own = models::find(&model).map_err(usage)?.recipe;
    Ok(Config {
        model,
        activation: Activation::Mish {},
        num_classes: None,
        stem: None,
        in_chans: COLOURS,
        gate: None,
        drop: 0.0,
        drop_path: 0.0,
        pretrained: None,
        mean: None,
        std: None,
        recipe: read_recipe(own, args.recipe.recipe.as_deref())?,
        data: DataOptions::default(),
    })
}

fn default_model(args: &TrainArgs, family: Option<&Family>) -> anyhow::Result<String> {
    match (&args.model, family) {
        (Some(model), _) => Ok(model.clone()),
        (None, Some(family)) => Ok(family.default.to_string()),
        (None, None) => Err(usage("name a network to train; `mish models` lists all")),
    }
}
