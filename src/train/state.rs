//! The state of a run: everything that an exact resume needs. It is one file, so that one rename
//! replaces all of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::average::Averages;
use super::error::TrainError;
use super::images::RunImages;
use super::optimizer::Optimizer;
use super::recipe::{EvalMetric, Recipe, one_line};
use super::record::EpochRecord;
use super::run_folder::{PREVIOUS_STATE, RunFolder, STATE};
use super::schedule::{Direction, Schedule};
use crate::checkpoint;
use crate::eval::Totals;
use crate::nn::ParamStore;
use crate::rng::{Generator, GeneratorState};

const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";
const PROGRESS: &str = "progress";

/// The progress of a run, its weights and the buffers of its optimizer.
///
/// The loader and the schedule have no state: a batch depends only on seed, epoch and position, a
/// learning rate only on the step and the evaluations before it.
#[derive(Debug)]
pub struct RunState {
    pub(super) progress: Progress,
    metadata: BTreeMap<String, String>,
    tensors: HashMap<String, Tensor>,
    path: PathBuf,
}

/// The progress of a run. It is saved as TOML, whose reader returns every float exactly; serde_json's
/// reader may change the last bit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Finished epochs.
    pub epoch: usize,
    /// Batches of the unfinished epoch that the steps have used.
    pub batch: usize,
    /// Steps whose update was left out because of a loss or gradient that was not finite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Sums over the batches of the unfinished epoch.
    pub partial: Partial,
    /// Seconds of training, excluding evaluation.
    pub train_seconds: f64,
    /// Training images of all finished epochs.
    pub train_images: usize,
    /// The finished epochs.
    pub records: Vec<EpochRecord>,
    /// The states of the random generators by name, as JSON: TOML has no unsigned 64-bit integers.
    pub generators: BTreeMap<String, String>,
    /// The threads of the last steps. Version 0.1 did not record them, nor the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The ranks of the last steps, if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<usize>,
    /// The images of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<RunImages>,
}

/// Sums over the unfinished epoch.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Partial {
    /// Sums of the accuracy on the training images.
    pub totals: Totals,
    /// The sum of the training loss over images.
    pub loss: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// Steps whose update was left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Progress {
    /// The epoch with the best value of `metric` so far, the first one of equals.
    pub fn best(&self, metric: EvalMetric) -> Option<&EpochRecord> {
        let better = |best: &EpochRecord, next: &EpochRecord| {
            let direction = metric.direction();
            direction.is_better(metric.of(next), metric.of(best), 0.0)
        };
        let pick = |best, next| if better(best, next) { next } else { best };
        self.records.iter().reduce(pick)
    }

    /// As [`Progress::best`], for the exponential moving average of the weights.
    pub fn best_ema(&self, metric: EvalMetric) -> Option<&EpochRecord> {
        let value = |record: &EpochRecord| record.ema.map(|ema| metric.of_evaluation(&ema));
        let better = |best: &EpochRecord, next: &EpochRecord| match (value(best), value(next)) {
            (Some(best), Some(next)) => metric.direction().is_better(next, best, 0.0),
            (best, next) => best.is_none() && next.is_some(),
        };
        let pick = |best, next| if better(best, next) { next } else { best };
        self.records.iter().reduce(pick)
    }

    /// The `count` epochs with the best values of `metric` among the first `epochs`, the best one first
    /// and the first one of equals.
    pub fn best_epochs(&self, metric: EvalMetric, epochs: usize, count: usize) -> Vec<usize> {
        let mut records: Vec<_> = self.records.iter().take(epochs).collect();
        records.sort_by(|a, b| {
            let order = metric.of(b).total_cmp(&metric.of(a));
            match metric.direction() {
                Direction::Max => order,
                Direction::Min => order.reverse(),
            }
        });
        records.iter().take(count).map(|r| r.epoch).collect()
    }

    /// The schedule of a run that has come this far, with `steps_per_epoch` steps in an epoch. It has
    /// seen the evaluations so far.
    pub fn schedule(&self, recipe: &Recipe, steps_per_epoch: usize) -> Schedule {
        let mut schedule = recipe.schedule(steps_per_epoch);
        for record in &self.records {
            schedule.observe(recipe.eval_metric.of(record));
        }
        schedule
    }
}

impl RunState {
    /// Reads the newest whole state of a run. Warns if there is a newer, damaged one.
    ///
    /// # Errors
    /// No state is whole.
    pub fn newest(folder: &RunFolder) -> Result<Self, TrainError> {
        let damaged = match Self::read(&folder.file(STATE)) {
            Ok(state) => return Ok(state),
            Err(error) => error,
        };
        let Ok(state) = Self::read(&folder.file(PREVIOUS_STATE)) else {
            return Err(damaged);
        };
        // A process that is killed between two renames leaves only the previous state. It is whole.
        if folder.file(STATE).exists() {
            tracing::warn!("{damaged}; continuing from {PREVIOUS_STATE}");
        }
        Ok(state)
    }

    /// Whether this is the header of a state, which holds more than the weights of a network.
    pub fn is_header(metadata: &BTreeMap<String, String>) -> bool {
        metadata.contains_key(PROGRESS)
    }

    /// Reads a state file.
    ///
    /// # Errors
    /// The file is missing or damaged, or is not the state of a run.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let mut file = checkpoint::read_checked(path)?;
        let foreign = |reason: String| TrainError::ForeignState {
            path: path.to_path_buf(),
            reason,
        };
        let progress = file.metadata.remove(PROGRESS);
        let progress =
            progress.ok_or_else(|| foreign("it does not hold the state of a run".into()))?;
        Ok(Self {
            progress: toml::from_str(&progress).map_err(|e| foreign(one_line(&e)))?,
            metadata: file.metadata,
            tensors: file.tensors,
            path: path.to_path_buf(),
        })
    }

    /// The file that the state was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    /// The batches of the unfinished epoch that the steps have used.
    pub fn batches_in_epoch(&self) -> usize {
        self.progress.batch
    }

    /// [`Run::metadata`](crate::train::Run::metadata) of the run; empty if version 0.1 wrote it.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The number of finished epochs.
    pub fn epochs(&self) -> usize {
        self.progress.epoch
    }

    /// Whether a run of `recipe` has no epoch left: all are done, or their evaluations have stopped it
    /// early.
    pub fn is_finished(&self, recipe: &Recipe) -> bool {
        let Progress { epoch, records, .. } = &self.progress;
        *epoch >= recipe.epochs || recipe.stops_early(records)
    }

    /// The number of threads of the run, on which its rounding depends. `None` if version 0.1 wrote
    /// the state.
    pub fn threads(&self) -> Option<usize> {
        self.progress.threads
    }

    /// The number of ranks of the last steps.
    pub fn ranks(&self) -> usize {
        self.progress.ranks.unwrap_or(1)
    }

    /// Checks that the run can continue with `epochs` epochs exactly as if it had started with that
    /// number: that the schedule of `recipe`, with which it started, gives the same learning rates
    /// for the steps so far. An epoch has `steps_per_epoch` steps.
    ///
    /// # Errors
    /// [`TrainError::OtherRates`], or [`TrainError::TooFewEpochs`] if the run is already past
    /// `epochs`.
    pub fn check_epochs(
        &self,
        recipe: &Recipe,
        epochs: usize,
        steps_per_epoch: usize,
    ) -> Result<(), TrainError> {
        self.check_not_past(epochs, steps_per_epoch)?;
        let other = Recipe {
            epochs,
            ..recipe.clone()
        };
        let schedule = |recipe| self.progress.schedule(recipe, steps_per_epoch);
        let [then, now] = [recipe, &other].map(schedule);
        if now.begins_as(&then, self.progress.step) {
            return Ok(());
        }
        Err(TrainError::OtherRates {
            sched: recipe.sched,
            then: recipe.epochs,
            now: epochs,
        })
    }

    fn check_not_past(&self, epochs: usize, steps_per_epoch: usize) -> Result<(), TrainError> {
        let Progress {
            step, epoch, batch, ..
        } = self.progress;
        if epoch < epochs || (epoch == epochs && batch == 0) {
            return Ok(());
        }
        Err(TrainError::TooFewEpochs {
            epochs,
            steps: step,
            per_epoch: steps_per_epoch,
        })
    }

    pub(super) fn write(
        path: &Path,
        previous: &Path,
        progress: &Progress,
        store: &ParamStore,
        optimizer: &dyn Optimizer,
        averages: &Averages,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), TrainError> {
        let prefixed = |prefix: &'static str| {
            move |(name, tensor): (String, Tensor)| (format!("{prefix}{name}"), tensor)
        };
        let model = store.tensors().into_iter().map(prefixed(MODEL));
        let buffers = optimizer.state().into_iter().map(prefixed(OPTIMIZER));
        let tensors = model.chain(buffers).chain(averages.tensors());
        let tensors: Vec<_> = tensors.collect();
        let progress = toml::to_string(progress)
            .map_err(|e| TrainError::io(path)(std::io::Error::other(e)))?;
        let mut metadata = metadata.clone();
        metadata.insert(PROGRESS.to_string(), progress);
        Ok(checkpoint::write_checked(
            path, previous, &tensors, &metadata,
        )?)
    }

    /// Refuses a state that a run of `recipe` on `images` cannot have, with `batches_per_epoch` batches
    /// in an epoch. States are saved between updates.
    pub(super) fn check(
        &self,
        path: &Path,
        recipe: &Recipe,
        images: &RunImages,
        batches_per_epoch: usize,
    ) -> Result<(), TrainError> {
        if let Some(then) = &self.progress.images {
            then.check(images)?;
        }
        let Progress {
            step,
            epoch,
            batch,
            skipped,
            ..
        } = self.progress;
        let steps_per_epoch = recipe.updates(batches_per_epoch);
        let steps = epoch.checked_mul(steps_per_epoch);
        let steps = steps.and_then(|steps| steps.checked_add(recipe.updates(batch)));
        let between = batch.is_multiple_of(recipe.grad_accum_steps) || batch == batches_per_epoch;
        let fits = batch <= batches_per_epoch
            && between
            && skipped <= step
            && steps.is_some_and(|steps| steps as u64 == step)
            && self.progress.records.len() == epoch;
        if fits {
            return self.check_not_past(recipe.epochs, steps_per_epoch);
        }
        Err(TrainError::ForeignState {
            path: path.to_path_buf(),
            reason: format!(
                "it is at step {step}, batch {batch} after {epoch} epochs, and an epoch has \
                 {batches_per_epoch} batches and {steps_per_epoch} steps"
            ),
        })
    }

    /// Restores weights, optimizer, averages and generators, and returns the progress.
    pub(super) fn restore(
        self,
        path: &Path,
        store: &ParamStore,
        optimizer: &mut dyn Optimizer,
        averages: &Averages,
        generators: &[(String, Generator)],
    ) -> Result<Progress, TrainError> {
        let foreign = |reason: String| TrainError::ForeignState {
            path: path.to_path_buf(),
            reason,
        };
        let restored = averages.restore(&self.tensors);
        restored.map_err(|e| foreign(e.to_string()))?;
        let (mut model, mut buffers) = (HashMap::new(), HashMap::new());
        for (key, tensor) in self.tensors {
            if let Some(name) = key.strip_prefix(MODEL) {
                model.insert(name.to_string(), tensor);
            } else if let Some(name) = key.strip_prefix(OPTIMIZER) {
                buffers.insert(name.to_string(), tensor);
            }
        }
        let report = store.load_tensors(&model)?;
        if !report.is_exact() {
            return Err(foreign(report.to_string()));
        }
        let restored = optimizer.restore(&buffers, self.progress.step - self.progress.skipped);
        restored.map_err(|e| foreign(e.to_string()))?;
        for (name, generator) in generators {
            let state = self.progress.generators.get(name);
            let state = state.ok_or_else(|| foreign(format!("it has no generator '{name}'")))?;
            let state: GeneratorState =
                serde_json::from_str(state).map_err(|e| foreign(e.to_string()))?;
            generator.restore(&state);
        }
        Ok(self.progress)
    }
}
