//! `mish train`: trains a network and leaves a run folder.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use candle_mish::activation::Activation;
use candle_mish::data::{self, Augmentation, DataOptions, Dataset, DatasetKind, ImageSet};
use candle_mish::data::{Loader, LoaderConfig};
use candle_mish::train::observer::{Curve, Lines, Metrics, Observer, Progress};
use candle_mish::train::run_folder::{CONFIG, CURVE, METRICS, STATE, SUMMARY};
use candle_mish::train::{Outcome, Parts, Record, Run, RunFolder, RunState, Summary, train};
use candle_mish_models::tuning::{HeadOnly, layers};
use candle_mish_models::{self as models, Stem};

use crate::args::{DataArgs, FormArgs, PreprocessArgs, RecipeArgs, positive};
use crate::config::{Config, read_recipe};
use crate::failure::{Done, usage};
use crate::interrupt::stop_on_signal;
use crate::network::{self, Architecture, COLOURS, Network, Weights, stem_for};
use crate::source::{self, Fetched};
use crate::{Context, device, logging, output, pictures};

/// At most one plain line within an epoch in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// Flags of `mish train` and of `train-<family>`.
#[derive(Debug, clap::Args)]
// Of a flag that is given twice the last one counts, as scripts that append flags expect.
#[command(args_override_self = true, allow_negative_numbers = true)]
pub struct TrainArgs {
    /// The network; `mish models` lists them
    model: Option<String>,
    /// The activation: mish, relu, silu, gelu, leaky_relu:0.1, … [default: mish]
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Classes of the network [default: those of the data set]
    #[arg(long, value_name = "N", value_parser = positive)]
    num_classes: Option<usize>,
    /// The first layers: cifar keeps the resolution, imagenet cuts it to a quarter
    /// [default: cifar for images of up to 64 pixels]
    #[arg(long, value_name = "NAME")]
    stem: Option<Stem>,
    #[command(flatten)]
    form: FormArgs,
    /// Dropout in front of the classifier [default: 0]
    #[arg(long, value_name = "P")]
    drop: Option<f64>,
    /// Stochastic depth: the probability of skipping the last residual block [default: 0]
    #[arg(long, value_name = "P")]
    drop_path: Option<f64>,
    /// Begin with weights from the Hugging Face Hub: the network's default ones, those with this
    /// tag (`mish models NAME` lists them), or hf://owner/name[@revision][/file]; or with a file
    #[arg(long, value_name = "TAG", num_args = 0..=1, default_missing_value = "",
          conflicts_with = "resume")]
    pretrained: Option<String>,
    /// The run folder [default: runs/<model>-<activation>-<number>]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Continue the run in this folder exactly where it stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "recipe"])]
    resume: Option<PathBuf>,
    /// Print the resolved configuration and train nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    preprocess: PreprocessArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// What a `train-<family>` is limited to.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The family's name in the registry.
    pub name: &'static str,
    /// The network that is trained if none is named.
    pub default: &'static str,
}

/// Trains.
pub fn run(args: &TrainArgs, family: Option<Family>, context: &Context) -> anyhow::Result<Done> {
    let (config, pretrained) = resolve(args, family, context)?;
    if args.dry_run {
        // Also finds out whether the network can be built.
        Network::new(&config.architecture(1, Stem::Cifar), config.recipe.seed)?;
        if context.json {
            output::json(&config)?;
        } else {
            output::text(&config.to_toml()?)?;
        }
        return Ok(Done::Complete);
    }
    let dataset = data::open(&config.data)?;
    let session = Session::new(args, config, pretrained.as_ref(), dataset, context)?;
    match session.run()? {
        None => Ok(Done::Interrupted),
        Some(summary) => {
            session.report(&summary)?;
            Ok(Done::Complete)
        }
    }
}

/// The configuration: that of the run to resume, or else the recipe's and the defaults, each
/// with the flags given. Also the weights that a new run begins with, if it has any.
fn resolve(
    args: &TrainArgs,
    family: Option<Family>,
    context: &Context,
) -> anyhow::Result<(Config, Option<Fetched>)> {
    let saved = match &args.resume {
        None => None,
        Some(folder) => {
            // Says clearly what is missing, and holds the lock no longer than that.
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
        // A classifier alone begins at random, and a recipe in a file says what it wants.
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
    pictures::check_channels(config.in_chans)?;
    config.drop = args.drop.unwrap_or(config.drop);
    config.drop_path = args.drop_path.unwrap_or(config.drop_path);
    args.recipe.apply(&mut config.recipe);
    let started_with = config.data.dataset;
    args.data.apply(&mut config.data);
    let weights = pretrained.as_ref().map(|fetched| &fetched.weights);
    prepare_pictures(args, weights, &mut config)?;
    if let Some(saved) = &saved {
        // The run knows which data set `auto` was.
        if config.data.dataset == DatasetKind::Auto {
            config.data.dataset = started_with;
        }
        config.check_same_run(saved)?;
    }
    config.recipe.validate().map_err(usage)?;
    let alone = config.recipe.freeze_backbone || config.recipe.head_warmup_epochs > 0.0;
    if alone && config.pretrained.is_none() {
        return Err(usage(
            "--freeze-backbone and --head-warmup-epochs need --pretrained: random features are \
             worth nothing",
        ));
    }
    let entry = models::find(&config.model).map_err(usage)?;
    if let Some(family) = family.filter(|family| family.name != entry.family) {
        return Err(usage(format!(
            "{} is of the {} family; train-{} trains the {} family",
            config.model, entry.family, family.name, family.name
        )));
    }
    Ok((config, pretrained))
}

/// Settles size and normalisation of pictures, and with the size the network's form.
fn prepare_pictures(
    args: &TrainArgs,
    pretrained: Option<&Weights>,
    config: &mut Config,
) -> anyhow::Result<()> {
    if !pictures::are_pictures(&config.data) {
        if args.preprocess.mean.is_some() || args.preprocess.std.is_some() {
            return Err(usage("--mean and --std are for --dataset folder:PATH"));
        }
        return pictures::refuse(&args.preprocess);
    }
    let stem = match config.stem {
        Some(stem) => stem,
        None => pictures::default_stem(&config.model, args.preprocess.img_size)?,
    };
    config.stem = Some(stem);
    // The preparation has them.
    (config.mean, config.std) = (None, None);
    match &mut config.data.preprocess {
        Some(preprocess) => args.preprocess.apply(preprocess),
        none => {
            let new = match pretrained {
                Some(weights) => {
                    let model = &config.model;
                    pictures::for_weights(weights, model, stem, None, &args.preprocess)?
                }
                None => pictures::for_training(&config.model, stem, &args.preprocess)?,
            };
            *none = Some(new);
            Ok(())
        }
    }
}

/// The configuration of a new run of `model`, without the flags.
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

fn default_model(args: &TrainArgs, family: Option<Family>) -> anyhow::Result<String> {
    match (&args.model, family) {
        (Some(model), _) => Ok(model.clone()),
        (None, Some(family)) => Ok(family.default.to_string()),
        (None, None) => Err(usage("name the network to train; `mish models` lists them")),
    }
}

/// A run that is ready to begin.
struct Session<'a> {
    config: Config,
    dataset: Dataset,
    network: Network,
    /// The network that only learns its classifier, and the layers of its parameters, where the
    /// recipe asks for them.
    parts: Option<(HeadOnly, HashMap<String, usize>)>,
    architecture: Architecture,
    folder: RunFolder,
    resume: bool,
    context: &'a Context,
}

impl<'a> Session<'a> {
    fn new(
        args: &TrainArgs,
        mut config: Config,
        pretrained: Option<&Fetched>,
        mut dataset: Dataset,
        context: &'a Context,
    ) -> anyhow::Result<Self> {
        let classes = dataset.classes.len();
        if dataset.train.is_empty() {
            bail!(
                "{} has no training images: expected train/CLASS/*.jpg beside val/CLASS/*.jpg",
                dataset.source.location
            );
        }
        let architecture = config.architecture(classes, stem_for(dataset.train.height()));
        if architecture.num_classes < classes {
            return Err(usage(format!(
                "--num-classes {}: {} has {classes} classes",
                architecture.num_classes, dataset.name
            )));
        }
        config.stem = Some(architecture.stem);
        config.data.dataset = dataset.name.parse()?;
        if let Some(Fetched { origin, .. }) = pretrained
            && config.mean.is_none()
            && dataset.train.preprocess().is_none()
        {
            pictures::suppose_normalisation(origin, &dataset);
        }
        dataset.mean = config.mean.unwrap_or(dataset.mean);
        dataset.std = config.std.unwrap_or(dataset.std);
        let dataset = pictures::with_channels(dataset, architecture.in_chans)?;
        let network = Network::new(&architecture, config.recipe.seed)?;
        if let Some(pretrained) = pretrained {
            network.begin_with(&architecture, pretrained)?;
        }
        let parts = if config.recipe.tells_parts_apart() {
            let layers = layers(&*network.model, &network.store);
            Some((network.head_only(&architecture)?, layers))
        } else {
            None
        };
        let folder = match &args.resume {
            Some(folder) => RunFolder::open(folder)?,
            None => {
                let folder = match &args.output {
                    Some(folder) => RunFolder::create(folder)?,
                    None => new_folder(&config)?,
                };
                folder.write_text(CONFIG, &config.to_toml()?)?;
                folder
            }
        };
        Ok(Self {
            config,
            dataset,
            network,
            parts,
            architecture,
            folder,
            resume: args.resume.is_some(),
            context,
        })
    }

    /// Trains to the end, or returns nothing when interrupted.
    fn run(&self) -> anyhow::Result<Option<Summary>> {
        let Config {
            model,
            activation,
            recipe,
            ..
        } = &self.config;
        let stop = stop_on_signal()?;
        let mut metadata = network::describe(&self.architecture, &self.dataset)?;
        if let Some(origin) = &self.config.pretrained {
            metadata.insert("pretrained".to_string(), origin.clone());
        }
        let train_loader = self.loader(&self.dataset.train, true);
        let test_loader = self.loader(&self.dataset.test, false);
        let validation = self.dataset.validation.as_ref();
        let validation = validation.map(|images| self.loader(images, false));
        tracing::info!(
            "{model} with {activation}: {} parameters, {} training and {} test images of {}, on {} with {} threads, in {}",
            self.network.store.num_params(),
            train_loader.images_per_epoch(),
            self.dataset.test.len(),
            self.dataset.name,
            device::name(device::current()?),
            self.context.threads,
            self.folder.path().display(),
        );
        let state = if self.resume {
            Some(RunState::read(&self.folder.file(STATE))?)
        } else {
            None
        };
        let run = Run {
            model: &*self.network.model,
            auxiliary: self.network.model.auxiliary(),
            frozen: &*self.network.frozen,
            parts: self.parts.as_ref().map(|(head_only, layers)| Parts {
                head_only,
                head: self.network.model.classifier(),
                layers,
            }),
            store: &self.network.store,
            train: &train_loader,
            validation: validation.as_ref(),
            test: &test_loader,
            recipe,
            folder: &self.folder,
            metadata: &metadata,
            generators: &self.network.generators,
            stop: &stop,
        };
        match train(&run, state, &mut self.observers())? {
            Outcome::Finished(record) => {
                let summary = self.summary(&record, train_loader.images_per_epoch())?;
                let text = serde_json::to_string_pretty(&summary)? + "\n";
                self.folder.write_text(SUMMARY, &text)?;
                Ok(Some(summary))
            }
            Outcome::Interrupted { step } => {
                let folder = self.folder.path().display();
                eprintln!("interrupted after step {step}; continue with --resume {folder}");
                Ok(None)
            }
        }
    }

    fn loader(&self, images: &ImageSet, train: bool) -> Loader {
        let recipe = &self.config.recipe;
        let config = LoaderConfig {
            batch_size: recipe.batch_size,
            shuffle: train,
            drop_last: train,
            augmentation: if train {
                recipe.augmentation()
            } else {
                Augmentation::none()
            },
            mean: self.dataset.mean,
            std: self.dataset.std,
            seed: recipe.seed,
        };
        Loader::new(images.clone(), config).on(self.network.store.device())
    }

    fn observers(&self) -> Vec<Box<dyn Observer>> {
        let Config {
            model, activation, ..
        } = &self.config;
        let title = format!("{model} with {activation} on {}", self.dataset.name);
        let screen: Box<dyn Observer> = if std::io::stderr().is_terminal() {
            Box::new(Progress::new(self.context.bars.clone()))
        } else {
            Box::new(Lines::new(LINE_INTERVAL, |line| eprintln!("{line}")))
        };
        vec![
            Box::new(Metrics::new(&self.folder.file(METRICS))),
            Box::new(Curve::new(&self.folder.file(CURVE), &title)),
            screen,
            Box::new(Lines::new(LINE_INTERVAL, |line| {
                tracing::info!(target: logging::RUN, "{line}");
            })),
        ]
    }

    fn summary(&self, record: &Record, train_images: usize) -> anyhow::Result<Summary> {
        Ok(Summary {
            model: self.config.model.clone(),
            activation: self.config.activation.to_string(),
            dataset: self.dataset.name.clone(),
            source: serde_json::to_value(&self.dataset.source)?,
            seed: self.config.recipe.seed,
            epochs: self.config.recipe.epochs,
            params: self.network.store.num_params(),
            train_images,
            test_images: record.last.images,
            best_epoch: record.best_epoch,
            best_top1: record.best.top1,
            final_top1: record.last.top1,
            final_top5: record.last.top5,
            final_loss: record.last.loss,
            train_images_per_second: record.images_per_second,
            seconds: record.seconds,
            threads: self.context.threads,
            version: env!("CARGO_PKG_VERSION").to_string(),
        })
    }

    fn report(&self, summary: &Summary) -> anyhow::Result<()> {
        if self.context.json {
            return output::json(summary);
        }
        output::text(&format!(
            "{} with {} on {}: top-1 {:.2} % (best {:.2} % in epoch {}), top-5 {:.2} %, loss {:.4}; \
             {:.0} img/s, {:.0} s; {}",
            summary.model,
            summary.activation,
            summary.dataset,
            100.0 * summary.final_top1,
            100.0 * summary.best_top1,
            summary.best_epoch,
            100.0 * summary.final_top5,
            summary.final_loss,
            summary.train_images_per_second,
            summary.seconds,
            self.folder.path().display(),
        ))
    }
}

/// The first of `runs/<model>-<activation>-1`, `-2`, … that does not exist.
fn new_folder(config: &Config) -> anyhow::Result<RunFolder> {
    let activation = config.activation.to_string();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = format!("{}-{activation}", config.model)
        .chars()
        .map(plain)
        .collect();
    for number in 1.. {
        let path = Path::new("runs").join(format!("{name}-{number}"));
        if !path.exists() {
            return Ok(RunFolder::create(&path)?);
        }
    }
    bail!("runs/{name}-1, -2, … exist all; name another folder with --output")
}
