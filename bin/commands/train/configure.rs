//! The configuration of a run, from flags, recipes and trained weights.

use std::path::Path;
use std::sync::Arc;

use candle_mish::activation::Activation;
use candle_mish::data::DatasetKind;
use candle_mish::train::communicator::Communicator;
use candle_mish_models::pretrained::named;
use candle_mish_models::{COLOUR_CHANNELS, ModelArgs, Stem};

use super::args::SetupArgs;
use super::family::{Family, program};
use super::resume::Resumed;
use crate::args::range::check_classes;
use crate::args::{in_flags, set};
use crate::config::{Config, read_recipe, starting_recipe};
use crate::context::Context;
use crate::failure::usage;
use crate::network::{Weights, check_options, entry, explained};
use crate::{preprocessing, source};

/// What to train.
pub(in crate::commands) struct Setup {
    /// The complete configuration.
    pub config: Config,
    /// The trained weights to start from, if any.
    pub pretrained: Option<Weights>,
    /// The run to continue, if any.
    pub(super) resumed: Option<Resumed>,
    /// The ranks of the run.
    pub(super) communicator: Arc<dyn Communicator>,
}

/// The configuration of a run. Flags override the run to `resume`, or else the recipe and the defaults.
///
/// # Errors
/// If flags contradict each other or the run to resume, or a file cannot be read.
pub(in crate::commands) fn configure(
    args: &SetupArgs,
    resume: Option<&Path>,
    family: Option<&Family>,
    context: &Context,
    communicator: Arc<dyn Communicator>,
) -> anyhow::Result<Setup> {
    let resumed = match resume {
        None => None,
        Some(folder) => Some(Resumed::open(folder, &*communicator)?),
    };
    let (mut config, pretrained) = match &resumed {
        Some(run) => (run.started.clone(), None),
        None => start(args, family, context)?,
    };
    if args.model.is_some() {
        config.network.model.clone_from(&args.model);
    }
    if let Some(weights) = &pretrained {
        config.start_from(weights, &args.network())?;
        // A classifier that trains alone starts from random weights, and a recipe file sets its own
        // rate.
        let freeze = args.recipe.fine_tuning.freeze_backbone;
        let freeze = freeze.unwrap_or(config.recipe.freeze_backbone);
        if !freeze && args.recipe.recipe.is_none() {
            config.recipe = config.recipe.for_trained_weights();
        }
    }
    config.network = args.network().or(&config.network);
    config.network.num_classes.map_or(Ok(()), check_classes)?;
    args.recipe.apply(&mut config.recipe);
    let started_with = config.data.dataset;
    args.data.apply(&mut config.data);
    // Trained weights that record no number of channels are for colour images.
    let in_chans = config.network.in_chans.unwrap_or(match pretrained {
        Some(_) => COLOUR_CHANNELS,
        None => config.data.dataset.channels(),
    });
    preprocessing::check_channels(in_chans)?;
    config.network.in_chans = Some(in_chans);
    configure_preprocessing(args, pretrained.as_ref(), &mut config)?;
    if let Some(run) = &resumed {
        // The run recorded which data set `auto` was.
        if config.data.dataset == DatasetKind::Auto {
            config.data.dataset = started_with;
        }
        config.check_same_run(&run.started)?;
    }
    config.recipe.validate().map_err(in_flags)?;
    args.recipe.check(&config.recipe).map_err(in_flags)?;
    config.recipe = config
        .recipe
        .with_optimizer_defaults()
        .with_schedule_defaults()
        .with_mixing_defaults()
        .with_average_defaults();
    check_needs(&config, args.recipe.recipe.as_deref())?;
    // A run has them.
    config.recipe.needs_model = None;
    config.recipe.needs_pretrained = false;
    set(&mut config.grad_checkpointing, args.grad_checkpointing);
    let given = match &resumed {
        None => args.network(),
        // Equal to the options of the run.
        Some(_) => ModelArgs::default(),
    };
    let spec = config.spec(1, Stem::Cifar);
    check_options(&given, &spec, &config.build_context())?;
    let entry = entry(config.model())?;
    if let Some(family) = family.filter(|family| family.name != entry.family) {
        let (model, own) = (config.model(), entry.family);
        return Err(usage(format!(
            "{} trains the {} family; {model} belongs to {own}: use {}",
            family.program,
            family.name,
            program(own)
        )));
    }
    let ranks = communicator.size();
    if !config.recipe.batch_size.is_multiple_of(ranks) {
        return Err(usage(format!(
            "--batch-size {} must be a multiple of {ranks}, the number of ranks",
            config.recipe.batch_size
        )));
    }
    Ok(Setup {
        config,
        pretrained,
        resumed,
        communicator,
    })
}

/// Refuses another network than the recipe needs, random weights where it needs trained ones, and the
/// reverse. `file` is the recipe that the user names.
fn check_needs(config: &Config, file: Option<&Path>) -> anyhow::Result<()> {
    let Config {
        recipe, pretrained, ..
    } = config;
    let name = match file {
        Some(file) => format!("--recipe {}", file.display()),
        None => "the recipe".to_string(),
    };
    if let Some(needed) = &recipe.needs_model
        && needed != config.model()
    {
        let model = config.model();
        return Err(usage(format!("{name} is for {needed}, not for {model}")));
    }
    if recipe.needs_pretrained && pretrained.is_none() {
        return Err(usage(format!(
            "{name} needs --pretrained: it trains trained weights further"
        )));
    }
    let alone = recipe.freeze_backbone || recipe.head_warmup_epochs > 0.0;
    if alone && pretrained.is_none() {
        return Err(usage(
            "--freeze-backbone and --head-warmup-epochs need --pretrained: a classifier learns \
             little from random features",
        ));
    }
    if recipe.init.is_some() && pretrained.is_some() {
        return Err(usage(
            "--init draws random weights, --pretrained loads trained ones",
        ));
    }
    Ok(())
}

/// Sets how image files become the network's input, and the stem for images of that size.
fn configure_preprocessing(
    args: &SetupArgs,
    pretrained: Option<&Weights>,
    config: &mut Config,
) -> anyhow::Result<()> {
    if !preprocessing::has_image_files(&config.data) {
        if args.preprocess.mean.is_some() || args.preprocess.std.is_some() {
            return Err(usage("--mean and --std need --dataset folder:PATH"));
        }
        return preprocessing::refuse(&args.preprocess);
    }
    let stem = match config.network.stem {
        Some(stem) => stem,
        None => preprocessing::default_stem(config.model(), args.preprocess.img_size)?,
    };
    config.network.stem = Some(stem);
    // The preprocessing includes the normalisation.
    (config.mean, config.std) = (None, None);
    if let Some(preprocess) = &mut config.data.preprocess {
        return args.preprocess.apply(preprocess);
    }
    let model = config.model();
    let new = match pretrained {
        Some(weights) => preprocessing::for_fine_tuning(weights, model, stem, &args.preprocess)?,
        None => preprocessing::for_training(model, stem, &args.preprocess)?,
    };
    config.data.preprocess = Some(new);
    Ok(())
}

/// The configuration of a new run before any flag, and the trained weights to start from.
fn start(
    args: &SetupArgs,
    family: Option<&Family>,
    context: &Context,
) -> anyhow::Result<(Config, Option<Weights>)> {
    let fetch = |model: Option<&str>, text: &str| {
        source::fetch(
            (model, args.activation),
            text,
            args.state_dict_key.as_deref(),
            args.data.offline,
            context,
        )
    };
    let pretrained = args.pretrained.as_deref();
    // Files and addresses record their network, tags do not.
    let from_weights = pretrained.filter(|text| named(None, text).is_ok());
    if args.model.is_none()
        && family.is_none()
        && let Some(text) = from_weights
    {
        let weights = fetch(None, text)?;
        let model = weights.model(None).map_err(explained)?;
        return Ok((new_config(args, model)?, Some(weights)));
    }
    let config = new_config(args, default_model(args, family)?)?;
    let weights = pretrained.map(|text| fetch(Some(config.model()), text));
    let weights = weights.transpose()?;
    Ok((config, weights))
}

/// The configuration of a new run of `model`, before any flag.
fn new_config(args: &SetupArgs, model: String) -> anyhow::Result<Config> {
    let dataset = args.data.dataset.as_ref().map(|dataset| dataset.kind);
    let recipe = args.recipe.recipe.as_deref();
    let recipe = starting_recipe(entry(&model)?.recipe, dataset, recipe)?;
    let network = ModelArgs {
        activation: Some(Activation::Mish {}),
        ..ModelArgs::named(model)
    };
    Ok(Config::new(&network, recipe))
}

/// The network to train: of the command line, the family's default, or the one that the recipe needs.
fn default_model(args: &SetupArgs, family: Option<&Family>) -> anyhow::Result<String> {
    match (&args.model, family) {
        (Some(model), _) => Ok(model.clone()),
        (None, Some(family)) => Ok(family.default.to_string()),
        (None, None) => {
            let recipe = read_recipe("", args.recipe.recipe.as_deref())?;
            let name = || usage("name a network to train; `mish models` lists all");
            recipe.needs_model.ok_or_else(name)
        }
    }
}
