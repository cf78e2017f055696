//! A training run: its network, its data and its folder.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::bail;
use candle_mish::data::Loader;
use candle_mish::train::run_folder::SUMMARY;
use candle_mish::train::{
    DataParallel, Outcome, Record, Run, RunFolder, RunState, Summary, TrainError, train_parallel,
    training_flops,
};
use candle_mish_models::{Model, ModelSpec};

use super::args::TrainArgs;
use super::observers::{Observed, ObserverArgs, record_session};
use super::prepare::Prepared;
use super::{memory, result, resume};
use crate::commands::report;
use crate::config::Config;
use crate::context::Context;
use crate::failure::Done;
use crate::table::{counted, operations, thousands};
use crate::{device, logging, network, output};

/// How a process ended that did not fail.
pub enum Ended {
    /// The run is finished.
    Finished(Box<Summary>),
    /// The run is saved and can be resumed.
    Early {
        /// Why it ended.
        done: Done,
        /// The steps of the run so far.
        step: u64,
    },
}

/// A run that is ready to start.
pub(super) struct Session<'a> {
    prepared: Prepared,
    /// The network that measures the batch norms of averaged weights, if the recipe needs it.
    calibrating: Option<Box<dyn Model>>,
    folder: RunFolder,
    /// The state to continue from.
    state: Option<RunState>,
    /// The configuration to write: of a new run, or of one that gets more epochs.
    to_write: Option<Config>,
    observers: ObserverArgs,
    bucket_cap_mb: f64,
    context: &'a Context,
}

impl<'a> Session<'a> {
    /// Makes or opens the run folder.
    ///
    /// # Errors
    /// If the folder cannot be used, or the run cannot have the number of epochs asked for.
    pub(super) fn new(
        args: &TrainArgs,
        mut prepared: Prepared,
        context: &'a Context,
    ) -> anyhow::Result<Self> {
        let Prepared { network, spec, .. } = &prepared;
        let calibrating = match prepared.config.recipe.swa_start {
            Some(_) => Some(network.calibrating(spec)?),
            None => None,
        };
        let (folder, state, to_write) = match prepared.resumed.take() {
            Some((run, state)) => {
                let batches = prepared.loader(&prepared.dataset.train, true);
                let steps = prepared.config.recipe.updates(batches.batches_per_epoch());
                let extended = match prepared.communicator.rank() {
                    0 => run.extended(&state, &prepared.config, steps)?,
                    _ => None,
                };
                if !state.is_finished(&prepared.config.recipe) {
                    resume::warn_of_rounding(&state, &*prepared.communicator, context);
                }
                (run.folder, Some(state), extended)
            }
            None => {
                let folder = match (&args.output, prepared.communicator.rank()) {
                    (Some(folder), 0) => RunFolder::create_new(folder)?,
                    (None, 0) => new_folder(&prepared.spec)?,
                    _ => RunFolder::of_rank_0(Path::new("runs")),
                };
                (folder, None, Some(prepared.config.clone()))
            }
        };
        Ok(Self {
            prepared,
            calibrating,
            folder,
            state,
            to_write,
            observers: args.observers.clone(),
            bucket_cap_mb: args.bucket_cap_mb.unwrap_or(DataParallel::BUCKET_CAP_MB),
            context,
        })
    }

    /// Trains to the end, or until `stop` is set or the time is over.
    ///
    /// # Errors
    /// If a step fails or a file cannot be written.
    pub(super) fn run(&mut self, stop: &AtomicBool) -> anyhow::Result<Ended> {
        let mut metadata = network::describe(&self.prepared.spec, &self.prepared.dataset)?;
        if let Some(origin) = &self.prepared.config.pretrained {
            metadata.insert("pretrained".to_string(), origin.clone());
        }
        let train_loader = self.prepared.loader(&self.prepared.dataset.train, true);
        let test_loader = self.prepared.loader(&self.prepared.dataset.test, false);
        let validation = self.prepared.dataset.validation.as_ref();
        let validation = validation.map(|images| self.prepared.loader(images, false));
        // Rank 0 gives it to the others.
        let writes = self.prepared.communicator.rank() == 0;
        let state = self.state.take().filter(|_| writes);
        let run = Run {
            model: &*self.prepared.network.model,
            auxiliary: self.prepared.network.model.auxiliary(),
            frozen: &*self.prepared.network.frozen,
            calibrating: self.calibrating.as_ref().map(|model| &**model as _),
            parts: self.prepared.parts(),
            store: &self.prepared.network.store,
            train: &train_loader,
            validation: validation.as_ref(),
            test: &test_loader,
            recipe: &self.prepared.config.recipe,
            folder: &self.folder,
            metadata: &metadata,
            generators: &self.prepared.network.generators,
            stop,
            options: &self.prepared.config.run,
            started: self.context.started,
        };
        let images = self.prepared.dataset.train.len();
        let batch_size = self.prepared.config.recipe.batch_size.min(images);
        let ranks = self.prepared.communicator.size();
        let memory = memory::estimate(&run, batch_size, ranks)?;
        let flops = training_flops(&run)?;
        let step = state.as_ref().map_or(0, RunState::steps);
        if writes {
            self.announce(&train_loader, state.as_ref(), flops.iter().sum(), memory)?;
            record_session(&self.folder, step, self.context)?;
        }
        let observed = Observed {
            config: &self.prepared.config,
            to_write: self.to_write.as_ref(),
            network: &self.prepared.network,
            folder: &self.folder,
            title: self.prepared.title(),
            train: &train_loader,
            evaluation: validation.as_ref().unwrap_or(&test_loader),
            normalisation: (self.prepared.dataset.mean, self.prepared.dataset.std),
            context: self.context,
        };
        let mut observers = match writes {
            true => observed.observers(&self.observers, step)?,
            false => Vec::new(),
        };
        let parallel = DataParallel {
            bucket_cap_mb: self.bucket_cap_mb,
            ..DataParallel::new(&*self.prepared.communicator)
        };
        match train_parallel(&run, parallel, state, &mut observers)? {
            Outcome::Finished(record) => {
                let flops = flops.iter().take(record.epochs.len()).sum();
                let summary = self.summary(&record, train_loader.images_per_epoch(), flops)?;
                if !writes {
                    return Ok(Ended::Finished(Box::new(summary)));
                }
                let text = serde_json::to_string_pretty(&summary)? + "\n";
                self.folder.write_text(SUMMARY, &text)?;
                if !self.observers.no_report {
                    let (folder, network) = (self.folder.path(), &*self.prepared.network.frozen);
                    report::write_in_folder(folder, &self.prepared.dataset, &test_loader, network)?;
                }
                Ok(Ended::Finished(Box::new(summary)))
            }
            Outcome::Interrupted { step } => Ok(Ended::Early {
                done: Done::Interrupted,
                step,
            }),
            Outcome::TimeLimit { step } => Ok(Ended::Early {
                done: Done::TimeLimit,
                step,
            }),
        }
    }

    /// Prints how to continue the run, which ended early after this step.
    pub(super) fn say_how_to_continue(&self, done: Done, step: u64) {
        let folder = self.folder.path().display();
        let reason = match done {
            Done::TimeLimit => "time limit reached",
            Done::Complete | Done::Interrupted => "stopped",
        };
        eprintln!("{reason} after step {step}; continue with --resume {folder}");
    }

    /// Prints what the run trains, on what, and where its files go.
    fn announce(
        &self,
        train: &Loader,
        state: Option<&RunState>,
        flops: f64,
        memory: String,
    ) -> anyhow::Result<()> {
        let recipe = &self.prepared.config.recipe;
        let ModelSpec {
            model, activation, ..
        } = &self.prepared.spec;
        let count = |images: usize| thousands(images as u64);
        let dataset = &self.prepared.dataset;
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
                count(self.prepared.network.store.num_params())
            ),
            format!(
                "data      {}: {images}, {} classes",
                dataset.name,
                dataset.classes.len()
            ),
            format!(
                "training  {} of {}, {}{} per step, {}",
                counted(recipe.epochs, "epoch"),
                counted(recipe.updates(train.batches_per_epoch()), "step"),
                match recipe.grad_accum_steps {
                    1 => String::new(),
                    batches => format!("{batches} x "),
                },
                counted(recipe.batch_size.min(dataset.train.len()), "image"),
                operations(flops)
            ),
            format!(
                "device    {}, {}",
                device::name(device::current()?),
                counted(self.context.threads, "thread")
            ),
            memory,
            format!("output    {}", self.folder.path().display()),
        ];
        let ranks = self.prepared.communicator.size();
        if ranks > 1 {
            let batch = recipe.batch_size.min(dataset.train.len()) / ranks;
            lines.push(format!(
                "ranks     {ranks}, {} each",
                counted(batch, "image")
            ));
        }
        lines.extend(state.map(|state| resume::describe(state, recipe)));
        for line in lines {
            eprintln!("{line}");
            tracing::info!(target: logging::RUN, "{line}");
        }
        Ok(())
    }

    fn summary(&self, record: &Record, train_images: usize, flops: f64) -> anyhow::Result<Summary> {
        Ok(Summary {
            model: self.prepared.spec.model.clone(),
            activation: self.prepared.spec.activation.to_string(),
            dataset: self.prepared.dataset.name.clone(),
            source: serde_json::to_value(&self.prepared.dataset.source)?,
            seed: self.prepared.config.recipe.seed,
            epochs: record.epochs.len(),
            params: self.prepared.network.store.num_params(),
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
            train_flops: Some(flops),
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
        let epochs = self.prepared.config.recipe.epochs;
        output::text(&result::line(summary, epochs, self.folder.path()))
    }
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
        if path.exists() {
            continue;
        }
        match RunFolder::create(&path) {
            // Another run that started at the same time.
            Err(TrainError::FolderInUse(_) | TrainError::FolderTaken(_)) => {}
            created => return Ok(created?),
        }
    }
    bail!("runs/{name}-1, -2, … all exist; choose another folder with --output")
}
