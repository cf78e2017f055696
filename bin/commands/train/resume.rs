//! Continuing a run, with more epochs if its schedule allows that.

use std::path::Path;

use candle_mish::train::communicator::Communicator;
use candle_mish::train::run_folder::{CONFIG, LAST, SUMMARY};
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

    /// The state of the run. Warns if its rounding will differ.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn state(
        &self,
        context: &Context,
        communicator: &dyn Communicator,
    ) -> anyhow::Result<RunState> {
        let state = RunState::newest(&self.folder)?;
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
                "the run used {}, now it uses {}: sums are rounded differently, so the result \
                 differs slightly from an uninterrupted run; --threads {threads} makes it exact",
                counted(threads, "thread"),
                context.threads
            );
        }
        Ok(state)
    }

    /// Takes the number of epochs from `config`, if it differs. An epoch has
    /// `steps_per_epoch` steps.
    ///
    /// # Errors
    /// A usage error if the steps so far would have been others with that number. A file that cannot
    /// be written.
    pub(super) fn extend(
        &self,
        state: &RunState,
        config: &Config,
        steps_per_epoch: usize,
    ) -> anyhow::Result<()> {
        let epochs = config.recipe.epochs;
        if epochs == self.started.recipe.epochs {
            return Ok(());
        }
        let checked = state.check_epochs(&self.started.recipe, epochs, steps_per_epoch);
        checked.map_err(|error| self.explained(error, state, config))?;
        let extended = Config {
            recipe: Recipe {
                epochs,
                ..self.started.recipe.clone()
            },
            ..self.started.clone()
        };
        self.folder.write_text(CONFIG, &extended.to_toml()?)?;
        // It describes the shorter run.
        match std::fs::remove_file(self.folder.file(SUMMARY)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Adds what to do instead.
    fn explained(&self, error: TrainError, state: &RunState, config: &Config) -> anyhow::Error {
        match error {
            TrainError::OtherRates { .. } => {
                let weights = self.folder.file(LAST);
                let left = config.recipe.epochs - state.epochs();
                let command = command::from_weights(&self.started, &weights, left);
                usage(format!(
                    "--resume: {error}; start a new run from its weights: {command}"
                ))
            }
            TrainError::TooFewEpochs { .. } => usage(format!("--resume: {error}")),
            _ => error.into(),
        }
    }
}

/// Says which state the run continues from.
pub(super) fn describe(state: &RunState) -> String {
    let file = state.path().file_name().unwrap_or_default();
    format!(
        "state     {}: {} after {}",
        file.to_string_lossy(),
        counted(state.steps_in_epoch(), "step"),
        counted(state.epochs(), "epoch")
    )
}
