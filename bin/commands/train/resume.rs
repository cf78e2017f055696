//! Continuing a run, with more epochs if its schedule allows that.

use std::path::Path;

use anyhow::anyhow;
use candle_mish::checkpoint::CheckpointError;
use candle_mish::train::communicator::Communicator;
use candle_mish::train::run_folder::{LAST, METRICS, STATE};
use candle_mish::train::{Recipe, RunFolder, RunState, TrainError};

use super::command;
use crate::config::Config;
use crate::context::Context;
use crate::failure::usage;
use crate::table::counted;

/// The run to continue, locked against other processes.
pub(super) struct Resumed {
    pub folder: RunFolder,
    /// The configuration that the run started with.
    pub started: Config,
}

impl Resumed {
    /// Opens the run in `folder`. Only rank 0 locks it.
    ///
    /// # Errors
    /// If the folder holds no run, or another process uses it.
    pub(super) fn open(folder: &Path, communicator: &dyn Communicator) -> anyhow::Result<Self> {
        Ok(Self {
            folder: match communicator.rank() {
                0 => RunFolder::open(folder)?,
                _ => RunFolder::of_rank_0(folder),
            },
            started: Config::read(folder)?,
        })
    }

    /// The state of the run.
    ///
    /// # Errors
    /// If no state can be read.
    pub(super) fn state(&self) -> anyhow::Result<RunState> {
        RunState::newest(&self.folder).map_err(|error| self.without_state(error))
    }

    /// Says how to go on without a whole state: from the weights.
    fn without_state(&self, error: TrainError) -> anyhow::Error {
        let weights = self.folder.file(LAST);
        let is_denied = matches!(error, TrainError::Checkpoint(CheckpointError::Read { .. }));
        if is_denied {
            return error.into();
        }
        let metrics = std::fs::read_to_string(self.folder.file(METRICS)).unwrap_or_default();
        let done = metrics.lines().count();
        let left = self.started.recipe.epochs.saturating_sub(done);
        let advice = match (weights.is_file(), left) {
            (false, _) => "start a new run".to_string(),
            (true, 0) => format!("all epochs are done, their weights are in {LAST}"),
            (true, left) => format!(
                "start a new run from its weights: {}",
                command::from_weights(&self.started, &weights, left)
            ),
        };
        tracing::debug!("{error}");
        anyhow!("{STATE} is damaged, and there is no other whole state; {advice}")
    }

    /// The configuration of the run with the number of epochs in `config`, if it differs. An epoch has
    /// `steps_per_epoch` steps.
    ///
    /// # Errors
    /// A usage error if the steps so far would have been others with that number.
    pub(super) fn extended(
        &self,
        state: &RunState,
        config: &Config,
        steps_per_epoch: usize,
    ) -> anyhow::Result<Option<Config>> {
        let epochs = config.recipe.epochs;
        if epochs == self.started.recipe.epochs {
            return Ok(None);
        }
        let checked = state.check_epochs(&self.started.recipe, epochs, steps_per_epoch);
        checked.map_err(|error| self.explained(error, state, config))?;
        Ok(Some(Config {
            recipe: Recipe {
                epochs,
                ..self.started.recipe.clone()
            },
            ..self.started.clone()
        }))
    }

    /// Adds what to do instead.
    fn explained(&self, error: TrainError, state: &RunState, config: &Config) -> anyhow::Error {
        match error {
            TrainError::OtherRates { .. } => {
                let (done, epochs) = (state.epochs(), config.recipe.epochs);
                let advice = match (done, epochs - done) {
                    (0, _) => "it has no weights of a whole epoch yet; start a new run".to_string(),
                    (_, 0) => format!("it has trained {} already", counted(done, "epoch")),
                    (_, left) => {
                        let weights = self.folder.file(LAST);
                        let command = command::from_weights(&self.started, &weights, left);
                        format!("start a new run from its weights: {command}")
                    }
                };
                usage(format!("--resume: {error}; {advice}"))
            }
            TrainError::TooFewEpochs { .. } => usage(format!("--resume: {error}")),
            _ => error.into(),
        }
    }
}

/// Warns if the run of `state` rounds differently from now on.
pub(super) fn warn_of_rounding(
    state: &RunState,
    communicator: &dyn Communicator,
    context: &Context,
) {
    let (then, now) = (state.ranks(), communicator.size());
    if then != now {
        tracing::warn!(
            "the run used {}, now it uses {now}: it continues with the same images, but the result \
             differs slightly from an uninterrupted run",
            counted(then, "rank")
        );
    }
    if let Some(threads) = state.threads().filter(|then| *then != context.threads) {
        tracing::warn!(
            "the run used {}, now it uses {}: sums are rounded differently, so the result differs \
             slightly from an uninterrupted run; --threads {threads} makes it exact",
            counted(threads, "thread"),
            context.threads
        );
    }
}

/// Says which state the run of `recipe` continues from.
pub(super) fn describe(state: &RunState, recipe: &Recipe) -> String {
    let file = state.path().file_name().unwrap_or_default();
    format!(
        "state     {}: {} after {}",
        file.to_string_lossy(),
        counted(recipe.updates(state.batches_in_epoch()), "step"),
        counted(state.epochs(), "epoch")
    )
}
