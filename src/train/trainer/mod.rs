//! The training loop.

mod averages;
mod clock;
mod diagnosis;
mod epoch;
mod evaluation;
mod guard;
mod ranks;
mod save;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Tensor;
use candle_nn::ModuleT;

use super::average::Averages;
use super::data_parallel::DataParallel;
use super::error::TrainError;
use super::forward::forward;
use super::images::RunImages;
use super::observer::{Observer, RunStart};
use super::optimizer::RuleOptimizer;
use super::options::RunOptions;
use super::parts::{self, Parts};
use super::recipe::Recipe;
use super::record::{EvaluationSet, Record};
use super::reducer::Reducer;
use super::run_folder::{PREVIOUS_STATE, RunFolder};
use super::schedule::Schedule;
use super::state::{Progress, RunState};
use crate::data::Loader;
use crate::nn::{AuxiliaryLoss, ParamStore};
use crate::rng::Generator;
use clock::Clock;

/// A network, its data and its recipe.
pub struct Run<'a> {
    /// The network, built on `store`.
    pub model: &'a dyn ModuleT,
    /// The loss that `model` adds to the loss of its logits, if it has one.
    pub auxiliary: Option<&'a dyn AuxiliaryLoss>,
    /// The same network, built on [`ParamStore::frozen`] of `store`.
    pub frozen: &'a dyn ModuleT,
    /// As `frozen`, with batch norms that average the statistics of all batches
    /// ([`BatchNorm2d::with_cumulative_statistics`](crate::nn::BatchNorm2d::with_cumulative_statistics))
    /// and without dropout. Only recipes with `swa_start` need it.
    pub calibrating: Option<&'a dyn ModuleT>,
    /// The parts of the network, for recipes that treat them differently.
    pub parts: Option<Parts<'a>>,
    /// Weights and buffers.
    pub store: &'a ParamStore,
    /// The training images, shuffled and augmented.
    pub train: &'a Loader,
    /// The images that choose the best epoch; the test images if none.
    pub validation: Option<&'a Loader>,
    /// The images of the final figures.
    pub test: &'a Loader,
    /// The hyperparameters.
    pub recipe: &'a Recipe,
    /// How the run is saved and when it ends early.
    pub options: &'a RunOptions,
    /// The start of the process, for the time limit.
    pub started: Instant,
    /// The folder for checkpoints.
    pub folder: &'a RunFolder,
    /// Key-value pairs for the header of every checkpoint, such as the name of the model.
    pub metadata: &'a BTreeMap<String, String>,
    /// The random generators of the network, by name.
    pub generators: &'a [(String, Generator)],
    /// If set, the run saves its state after the current step and ends.
    pub stop: &'a AtomicBool,
}

impl<'a> Run<'a> {
    /// The images that evaluate each epoch.
    fn evaluation(&self) -> &'a Loader {
        self.validation.unwrap_or(self.test)
    }

    /// The logits `[N, K]` of a batch in training mode and the network's own loss, if it has one. With
    /// `head_only`, of a run with parts, only the head learns.
    pub(super) fn forward(
        &self,
        head_only: bool,
        images: &Tensor,
        labels: &Tensor,
    ) -> candle_core::Result<(Tensor, Option<Tensor>)> {
        let parts = self.parts.as_ref().filter(|_| head_only);
        let head = parts.map(|parts| parts.head_only);
        forward(self.model, self.auxiliary, head, images, labels)
    }

    fn evaluated_on(&self) -> EvaluationSet {
        match self.validation {
            Some(_) => EvaluationSet::Validation,
            None => EvaluationSet::Test,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Box<Record>),
    /// The run was stopped. Its state is saved and it can be resumed.
    Interrupted {
        /// Steps taken so far.
        step: u64,
    },
    /// The time limit ended the process. The state of the run is saved and it can be resumed.
    TimeLimit {
        /// Steps taken so far.
        step: u64,
    },
}

/// Why a process ends before the run.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Requested,
    TimeLimit,
}

/// Trains from the start, or continues from `resume`, and reports to `observers`.
///
/// # Errors
/// A recipe out of range, an empty training set, a state of another run or of other
/// images, a loss that is not finite, a time limit that is too short, a file that cannot be written, or
/// the error of an op.
pub fn train(
    run: &Run<'_>,
    resume: Option<RunState>,
    observers: &mut [Box<dyn Observer>],
) -> Result<Outcome, TrainError> {
    train_parallel(run, DataParallel::SINGLE, resume, observers)
}

/// As [`train`], on several ranks, each of which calls this with the same run. The batches of `run` are
/// split over the ranks: with `sync_bn`, and without random layers, the result equals one process's
/// up to rounding.
///
/// Rank 0 gives its weights and its `resume` to the others and writes all files.
///
/// # Errors
/// As [`train`], a batch that the ranks cannot divide, or a rank that has ended.
pub fn train_parallel(
    run: &Run<'_>,
    parallel: DataParallel<'_>,
    resume: Option<RunState>,
    observers: &mut [Box<dyn Observer>],
) -> Result<Outcome, TrainError> {
    Trainer::new(run, parallel, resume)?.run(observers)
}

struct Trainer<'a> {
    run: &'a Run<'a>,
    parallel: DataParallel<'a>,
    /// This rank's part of the training images.
    train: Loader,
    reducer: Reducer<'a>,
    optimizer: RuleOptimizer,
    averages: Averages,
    schedule: Schedule,
    progress: Progress,
    /// Updates in an epoch.
    steps_per_epoch: usize,
    /// Steps at the start that train only the head.
    head_warmup: u64,
    clock: Clock,
    /// Whether the run continues from the state before the newest one.
    resumed_from_previous: bool,
}

impl<'a> Trainer<'a> {
    fn new(
        run: &'a Run<'a>,
        parallel: DataParallel<'a>,
        resume: Option<RunState>,
    ) -> Result<Self, TrainError> {
        let recipe = run.recipe;
        recipe.validate()?;
        let batches_per_epoch = run.train.batches_per_epoch();
        if batches_per_epoch == 0 {
            return Err(TrainError::NoImages);
        }
        let evaluated = (run.evaluation(), run.evaluated_on());
        for (loader, set) in [evaluated, (run.test, EvaluationSet::Test)] {
            if loader.images().is_empty() {
                return Err(TrainError::NoEvaluationImages(set));
            }
        }
        let ranks = parallel.ranks();
        if let Some(images) = run.train.indivisible_batch(ranks) {
            return Err(TrainError::IndivisibleBatch { images, ranks });
        }
        let steps_per_epoch = recipe.updates(batches_per_epoch);
        let head_warmup = (recipe.head_warmup_epochs * steps_per_epoch as f64).round() as u64;
        let mut optimizer = parts::optimizer(run.store, recipe, run.parts.as_ref(), head_warmup)?;
        let averages = Averages::new(recipe, run.store)?;
        let images = RunImages::of(run.train, run.evaluation());
        let previous = run.folder.file(PREVIOUS_STATE);
        let resumed_from_previous = resume.as_ref().is_some_and(|s| s.path() == previous);
        let mut progress = match resume {
            None => Progress::default(),
            Some(state) => {
                let path = state.path().to_path_buf();
                state.check(&path, recipe, &images, batches_per_epoch)?;
                state.restore(&path, run.store, &mut optimizer, &averages, run.generators)?
            }
        };
        progress.threads = Some(rayon::current_num_threads());
        progress.ranks = (ranks > 1).then_some(ranks);
        progress.images = Some(images);
        let communicator = parallel.communicator;
        let params = run.store.params().into_iter().map(|(_, var)| var);
        let mut trainer = Self {
            run,
            parallel,
            train: run.train.shard(communicator.rank(), ranks),
            reducer: Reducer::new(params.collect(), parallel),
            optimizer,
            averages,
            schedule: progress.schedule(recipe, steps_per_epoch),
            progress,
            steps_per_epoch,
            head_warmup,
            clock: Clock::new(run.options, run.started),
            resumed_from_previous,
        };
        trainer.start_alike()?;
        Ok(trainer)
    }

    fn run(mut self, observers: &mut [Box<dyn Observer>]) -> Result<Outcome, TrainError> {
        self.start_saving()?;
        for observer in &mut *observers {
            observer.start(&RunStart {
                records: &self.progress.records,
                step: self.progress.step,
                epochs: self.run.recipe.epochs,
                evaluated_on: self.run.evaluated_on(),
            })?;
        }
        while self.progress.epoch < self.run.recipe.epochs && !self.stops_early() {
            let finished = match self.epoch(observers)? {
                None => self.finish_epoch()?,
                Some(stop) => Err(stop),
            };
            let record = match finished {
                Ok(record) => record,
                Err(stop) => return self.stopped(stop),
            };
            for observer in &mut *observers {
                observer.epoch(&record)?;
            }
        }
        let swa = match self.finish_swa()? {
            Ok(swa) => swa,
            Err(stop) => return self.stopped(stop),
        };
        let record = self.record(swa)?;
        for observer in observers {
            observer.finish(&record)?;
        }
        Ok(Outcome::Finished(Box::new(record)))
    }

    /// Whether the evaluations so far end the run before its last epoch.
    fn stops_early(&self) -> bool {
        self.run.recipe.stops_early(&self.progress.records)
    }

    /// Why to end the process now, if there is a reason on this rank.
    fn own_stop(&self) -> Option<Stop> {
        if self.run.stop.load(Ordering::Relaxed) {
            return Some(Stop::Requested);
        }
        self.clock.time_is_up().then_some(Stop::TimeLimit)
    }

    /// Saves the run within an epoch, to end the process.
    fn stopped(&mut self, stop: Stop) -> Result<Outcome, TrainError> {
        self.save_state()?;
        let step = self.progress.step;
        match (stop, self.run.options.time_limit) {
            (Stop::TimeLimit, Some(limit)) if !self.clock.has_progressed() => {
                Err(TrainError::TimeLimitTooShort(limit))
            }
            (Stop::TimeLimit, _) => Ok(Outcome::TimeLimit { step }),
            (Stop::Requested, _) => Ok(Outcome::Interrupted { step }),
        }
    }
}
