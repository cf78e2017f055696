//! A training run: its network, its data and its folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::bail;
use candle_mish::data::{Dataset, ImageSet, Loader, LoaderConfig};
use candle_mish::eval::Evaluation;
use candle_mish::train::run_folder::SUMMARY;
use candle_mish::train::{
    Outcome, Parts, Recipe, Record, Run, RunFolder, RunState, Summary, train,
};
use candle_mish_models::tuning::HeadOnly;
use candle_mish_models::{self as models, Model, ModelSpec, Stem};

use super::args::TrainArgs;
use super::classes::{self, Classifier};
use super::configure::Setup;
use super::observers::{Observed, ObserverArgs, record_session};
use super::{image_sizes, memory, resume};
use crate::args::range::check_batch;
use crate::commands::report;
use crate::config::Config;
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::{self, Network};
use crate::table::{counted, thousands};
use crate::{device, logging, output, preprocessing};

/// How a process ended that did not fail.
pub enum Ended {
    /// The run is finished.
    Finished(Box<Summary>),
    /// The run is saved and can be resumed.
    Early(Done),
}

/// A run that is ready to start.
pub(super) struct Session<'a> {
    config: Config,
    dataset: Dataset,
    network: Network,
    /// The network that measures the batch norms of averaged weights, if the recipe needs it.
    calibrating: Option<Box<dyn Model>>,
    /// The network with only its classifier trainable, and the layer of each parameter, if the
    /// recipe needs them.
    parts: Option<(HeadOnly, HashMap<String, usize>)>,
    spec: ModelSpec,
    folder: RunFolder,
    /// The state to continue from.
    state: Option<RunState>,
    observers: ObserverArgs,
    context: &'a Context,
}

impl<'a> Session<'a> {
    /// Builds the network, loads trained weights into it, and makes or opens the run folder.
    ///
    /// # Errors
    /// If the data set or the weights do not fit the network, or the folder cannot be used.
    pub(super) fn new(
        args: &TrainArgs,
        setup: Setup,
        mut dataset: Dataset,
        context: &'a Context,
    ) -> anyhow::Result<Self> {
        let Setup {
            mut config,
            pretrained,
            resumed,
        } = setup;
        if dataset.train.is_empty() {
            bail!(
                "{} has no training images: expected train/CLASS/*.jpg and val/CLASS/*.jpg",
                dataset.source.location
            );
        }
        let mut state = None;
        let mut classifier = Classifier::ByName;
        if let Some(run) = &resumed {
            let saved = run.state(context)?;
            dataset = classes::of_run(dataset, &run.folder, &saved, &config)?;
            state = Some(saved);
        } else if let Some(weights) = &pretrained {
            (dataset, classifier) = classes::of_weights(dataset, weights, &config)?;
        }
        let classes = dataset.classes.len();
        let size = dataset.train.height();
        let stem = Stem::for_image_size(size);
        config.network.img_size = models::find(config.model())?.img_size(size);
        let spec = config.spec(classes, stem);
        if spec.num_classes < classes {
            return Err(usage(format!(
                "--num-classes {}: {} has {classes} classes",
                spec.num_classes, dataset.name
            )));
        }
        config.network.stem = Some(spec.stem);
        config.data.dataset = dataset.name.parse()?;
        config.data.skipped.clone_from(&dataset.source.skipped);
        if let Some(weights) = &pretrained
            && config.mean.is_none()
            && dataset.train.preprocess().is_none()
        {
            preprocessing::warn_of_normalisation(&weights.origin, &dataset);
        }
        dataset.mean = config.mean.unwrap_or(dataset.mean);
        dataset.std = config.std.unwrap_or(dataset.std);
        let dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
        let batch_size = config.recipe.batch_size.min(dataset.train.len());
        check_batch(batch_size, &dataset.train)?;
        let network = Network::new(&spec, &config.recipe)?;
        image_sizes::check(&network, &spec, &config.recipe, batch_size)?;
        if let Some(weights) = &pretrained {
            classes::load(&network, &spec, weights, &classifier, &dataset)?;
        }
        let parts = if config.recipe.tells_parts_apart() {
            let layers = models::find(&spec.model)?.layer_groups(&network.store);
            Some((network.head_only(&spec)?, layers))
        } else {
            None
        };
        let calibrating = match config.recipe.swa_start {
            Some(_) => Some(network.calibrating(&spec)?),
            None => None,
        };
        let folder = match (resumed, &state) {
            (Some(run), Some(state)) => {
                let batches = loader(
                    &config.recipe,
                    &dataset,
                    &dataset.train,
                    spec.num_classes,
                    true,
                );
                let steps = config.recipe.updates(batches.batches_per_epoch());
                run.extend(state, &config, steps)?;
                run.folder
            }
            _ => {
                let folder = match &args.output {
                    Some(folder) => RunFolder::create(folder)?,
                    None => new_folder(&spec)?,
                };
                folder
            }
        };
        Ok(Self {
            config,
            dataset,
            network,
            calibrating,
            parts,
            spec,
            folder,
            state,
            observers: args.observers.clone(),
            context,
        })
    }

    /// Trains to the end, or until `stop` is set or the time is over.
    ///
    /// # Errors
    /// If a step fails or a file cannot be written.
    pub(super) fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<Ended> {
        let mut metadata = network::describe(&self.spec, &self.dataset)?;
        if let Some(origin) = &self.config.pretrained {
            metadata.insert("pretrained".to_string(), origin.clone());
        }
        let train_loader = self.loader(&self.dataset.train, true);
        let test_loader = self.loader(&self.dataset.test, false);
        let validation = self.dataset.validation.as_ref();
        let validation = validation.map(|images| self.loader(images, false));
        let state = self.state.take();
        let run = Run {
            model: &*self.network.model,
            auxiliary: self.network.model.auxiliary(),
            frozen: &*self.network.frozen,
            calibrating: self.calibrating.as_ref().map(|model| &**model as _),
            parts: self.parts.as_ref().map(|(head_only, layers)| Parts {
                head_only,
                head: self.network.model.classifier(),
                layers,
            }),
            store: &self.network.store,
            train: &train_loader,
            validation: validation.as_ref(),
            test: &test_loader,
            recipe: &self.config.recipe,
            folder: &self.folder,
            metadata: &metadata,
            generators: &self.network.generators,
            stop,
            options: &self.config.run,
            started: self.context.started,
        };
        let batch_size = self.config.recipe.batch_size.min(self.dataset.train.len());
        let memory = memory::estimate(&run, batch_size)?;
        self.announce(&train_loader, state.as_ref(), memory)?;
        let step = state.as_ref().map_or(0, RunState::steps);
        record_session(&self.folder, step, self.context)?;
        let observed = Observed {
            config: &self.config,
            network: &self.network,
            folder: &self.folder,
            title: self.title(),
            train: &train_loader,
            evaluation: validation.as_ref().unwrap_or(&test_loader),
            normalisation: (self.dataset.mean, self.dataset.std),
            context: self.context,
        };
        let mut observers = observed.observers(&self.observers, step)?;
        match train(&run, state, &mut observers)? {
            Outcome::Finished(record) => {
                let summary = self.summary(&record, train_loader.images_per_epoch())?;
                let text = serde_json::to_string_pretty(&summary)? + "\n";
                self.folder.write_text(SUMMARY, &text)?;
                if !self.observers.no_report {
                    let (folder, network) = (self.folder.path(), &*self.network.frozen);
                    report::write_in_folder(folder, &self.dataset, &test_loader, network)?;
                }
                Ok(Ended::Finished(Box::new(summary)))
            }
            Outcome::Interrupted { step } => {
                let folder = self.folder.path().display();
                eprintln!("stopped after step {step}; continue with --resume {folder}");
                Ok(Ended::Early(Done::Interrupted))
            }
            Outcome::TimeLimit { step } => {
                let folder = self.folder.path().display();
                eprintln!("time limit reached after step {step}; continue with --resume {folder}");
                Ok(Ended::Early(Done::TimeLimit))
            }
        }
    }

    /// Prints what the run trains, on what, and where its files go.
    fn announce(
        &self,
        train: &Loader,
        state: Option<&RunState>,
        memory: String,
    ) -> anyhow::Result<()> {
        let recipe = &self.config.recipe;
        let ModelSpec {
            model, activation, ..
        } = &self.spec;
        let count = |images: usize| thousands(images as u64);
        let dataset = &self.dataset;
        let images = match &dataset.validation {
            Some(validation) => format!(
                "{} training, {} validation and {} test images",
                count(dataset.train.len()),
                count(validation.len()),
                count(dataset.test.len())
            ),
            None => format!(
                "{} training and {} test images",
                count(dataset.train.len()),
                count(dataset.test.len())
            ),
        };
        let mut lines = vec![
            format!(
                "network   {model} with {activation}, {} parameters",
                count(self.network.store.num_params())
            ),
            format!(
                "data      {}: {images}, {} classes",
                dataset.name,
                dataset.classes.len()
            ),
            format!(
                "training  {} of {}, {}{} per step",
                counted(recipe.epochs, "epoch"),
                counted(recipe.updates(train.batches_per_epoch()), "step"),
                match recipe.grad_accum_steps {
                    1 => String::new(),
                    batches => format!("{batches} x "),
                },
                counted(recipe.batch_size.min(dataset.train.len()), "image")
            ),
            format!(
                "device    {}, {}",
                device::name(device::current()?),
                counted(self.context.threads, "thread")
            ),
            memory,
            format!("output    {}", self.folder.path().display()),
        ];
        lines.extend(state.map(resume::describe));
        for line in lines {
            eprintln!("{line}");
            tracing::info!(target: logging::RUN, "{line}");
        }
        Ok(())
    }

    fn loader(&self, images: &ImageSet, train: bool) -> Loader {
        let loader = loader(
            &self.config.recipe,
            &self.dataset,
            images,
            self.spec.num_classes,
            train,
        );
        loader.on(self.network.store.device())
    }

    /// The name of the run in plots.
    fn title(&self) -> String {
        let ModelSpec {
            model, activation, ..
        } = &self.spec;
        format!("{model} with {activation} on {}", self.dataset.name)
    }

    fn summary(&self, record: &Record, train_images: usize) -> anyhow::Result<Summary> {
        Ok(Summary {
            model: self.spec.model.clone(),
            activation: self.spec.activation.to_string(),
            dataset: self.dataset.name.clone(),
            source: serde_json::to_value(&self.dataset.source)?,
            seed: self.config.recipe.seed,
            epochs: record.epochs.len(),
            params: self.network.store.num_params(),
            train_images,
            test_images: record.last.images,
            best_epoch: record.best_epoch,
            best_chosen_on: Some(record.best_chosen_on),
            stopped_early: record.stopped_early,
            best_top1: record.best.top1,
            final_top1: record.last.top1,
            final_top5: record.last.top5,
            final_loss: record.last.loss,
            ema: record.ema,
            swa: record.swa,
            train_images_per_second: record.images_per_second,
            seconds: record.seconds,
            threads: self.context.threads,
            version: env!("CARGO_PKG_VERSION").to_string(),
        })
    }

    /// Prints the result of a run.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(super) fn report(&self, summary: &Summary) -> anyhow::Result<()> {
        if self.context.json {
            return output::json(summary);
        }
        let chosen = summary
            .best_chosen_on
            .map(|set| format!(", chosen on the {set} images"));
        let chosen = chosen.unwrap_or_default();
        let averaged = |name: &str, evaluation: Evaluation| {
            format!(" {name} top-1 {:.2} %,", 100.0 * evaluation.top1)
        };
        let ema = summary.ema.map(|ema| averaged("EMA", ema.last));
        let swa = summary.swa.map(|swa| averaged("SWA", swa));
        let averages: String = ema.into_iter().chain(swa).collect();
        output::text(&format!(
            "{} with {} on {}: top-1 {:.2} % (best {:.2} % in epoch {}{chosen}), top-5 {:.2} %,{averages} loss {:.4}; {:.0} img/s, {:.0} s; {}",
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

/// A loader of `images`, augmented for training. `classes` is the number of logits.
fn loader(
    recipe: &Recipe,
    dataset: &Dataset,
    images: &ImageSet,
    classes: usize,
    train: bool,
) -> Loader {
    let config = match train {
        true => recipe.loader_config(dataset.mean, dataset.std, classes),
        false => LoaderConfig::in_order(recipe.batch_size, dataset.mean, dataset.std),
    };
    Loader::new(images.clone(), config)
}

/// The first of `runs/<model>-<activation>-1`, `-2`, … that does not exist.
fn new_folder(spec: &ModelSpec) -> anyhow::Result<RunFolder> {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = format!("{}-{}", spec.model, spec.activation)
        .chars()
        .map(plain)
        .collect();
    for number in 1.. {
        let path = Path::new("runs").join(format!("{name}-{number}"));
        if !path.exists() {
            return Ok(RunFolder::create(&path)?);
        }
    }
    bail!("runs/{name}-1, -2, … all exist; choose another folder with --output")
}
