//! Errors of a training run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::duration::TimeSpan;
use super::non_finite::NonFiniteOrigin;
use super::rate::rate_text;
use super::recipe::{RecipeError, ScheduleKind};
use super::record::EvaluationSet;
use crate::checkpoint::CheckpointError;

/// Why a run ended early, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss became infinite or NaN. A lower `lr`, a longer warm-up or `clip_grad` may help.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step} (learning rate {}){}",
        rate_text(*lr),
        first_in(.origin.as_ref())
    )]
    NonFiniteLoss {
        /// The value.
        loss: f64,
        /// Counts from 1.
        epoch: usize,
        /// Counts from 1, over all epochs.
        step: u64,
        /// The rate of that step.
        lr: f64,
        /// Where the value first appeared, if it is known.
        origin: Option<NonFiniteOrigin>,
    },
    /// A gradient became infinite or NaN, with a finite loss. The same may help.
    #[error(
        "a gradient is infinite or NaN in epoch {epoch}, step {step} (learning rate {}){}",
        rate_text(*lr),
        first_in(.origin.as_ref())
    )]
    NonFiniteGradient {
        /// Counts from 1.
        epoch: usize,
        /// Counts from 1, over all epochs.
        step: u64,
        /// The rate of that step.
        lr: f64,
        /// Where the value first appeared, if it is known.
        origin: Option<NonFiniteOrigin>,
    },
    /// A weight became infinite or NaN. The state is not saved, so that the last one stays.
    #[error("{tensor} became infinite or NaN in epoch {epoch}, by step {step}")]
    NonFiniteWeight {
        /// The parameter or buffer.
        tensor: String,
        /// Counts from 1.
        epoch: usize,
        /// Steps taken.
        step: u64,
    },
    /// All updates of an epoch were left out, because none had a finite loss and gradient.
    #[error("no update of epoch {epoch} had a finite loss and gradient")]
    NoFiniteUpdate {
        /// Counts from 1.
        epoch: usize,
    },
    /// The time limit leaves no time for a step.
    #[error("time_limit is {0}, too short to take a step and save the run")]
    TimeLimitTooShort(TimeSpan),
    /// A field of the recipe is out of its range.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The training set is empty.
    #[error("the training set has no images")]
    NoImages,
    /// There is nothing to evaluate the network on.
    #[error("there are no {0} images, on which the network is evaluated")]
    NoEvaluationImages(EvaluationSet),
    /// The ranks of a data parallel run cannot have equal parts of a batch.
    #[error(
        "a batch of {images} images cannot be divided among {ranks} ranks: batch_size must be a \
         multiple of the number of ranks"
    )]
    IndivisibleBatch {
        /// The images of a batch.
        images: usize,
        /// The number of ranks.
        ranks: usize,
    },
    /// The recipe treats parts of the network differently, and the run names no parts.
    #[error(
        "layer_decay, freeze_backbone, head_warmup_epochs and clip_mode agc need the parts of the network"
    )]
    NoParts,
    /// The recipe averages weights (SWA) of a network with batch norms, and the run has no network
    /// that measures their statistics.
    #[error("swa_start needs a network that calibrates the batch norms")]
    NoCalibration,
    /// A checkpoint or state file cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the run folder cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The run folder is locked by another process.
    #[error("run folder {} is in use by another process", .0.display())]
    FolderInUse(PathBuf),
    /// A process on another computer uses the run folder, or has died there.
    #[error(
        "run folder {} is in use on {computer}: its last sign of life is {} s old; after {} s more without one, the folder is free",
        folder.display(), silent.as_secs(), left.as_secs()
    )]
    FolderLeased {
        /// The run folder.
        folder: PathBuf,
        /// The name of the computer.
        computer: String,
        /// The time since the last sign of life.
        silent: Duration,
        /// The time until the folder is free, if no other sign of life follows.
        left: Duration,
    },
    /// Another process has taken over the run folder while this one was suspended.
    #[error("another process has taken over run folder {}, because this one gave no sign of life", .0.display())]
    FolderLost(PathBuf),
    /// The run folder already holds a run. Resume it, or choose another folder.
    #[error("run folder {} already holds a run", .0.display())]
    FolderTaken(PathBuf),
    /// The folder of a new run holds other files. Choose another folder.
    #[error("{} is not empty and holds no run: it has {entry}", folder.display())]
    FolderNotEmpty {
        /// The folder.
        folder: PathBuf,
        /// One of the files or folders in it.
        entry: String,
    },
    /// The folder holds no run to resume.
    #[error("{} holds no run to resume: {missing} is missing", folder.display())]
    NothingToResume {
        /// The folder.
        folder: PathBuf,
        /// The missing file.
        missing: &'static str,
    },
    /// The state file belongs to another run, or no run can be in this state.
    #[error("{} does not belong to this run: {reason}", path.display())]
    ForeignState {
        /// The state file.
        path: PathBuf,
        /// The difference.
        reason: String,
    },
    /// The run started with other images.
    #[error(
        "the run cannot continue with other images: it started with {then}, now there are {now}"
    )]
    OtherImages {
        /// What the run started with, such as `200 training images`.
        then: String,
        /// The same for the present images.
        now: String,
    },
    /// The run has done more than the epochs of the recipe.
    #[error(
        "epochs is {epochs}, but the run has already taken {steps} steps; an epoch has {per_epoch}"
    )]
    TooFewEpochs {
        /// The epochs of the recipe.
        epochs: usize,
        /// Steps of the run.
        steps: u64,
        /// Steps in an epoch.
        per_epoch: usize,
    },
    /// A run of another length would have had other learning rates so far.
    #[error(
        "the learning rates of {sched} depend on the number of epochs: a run of {then} epochs cannot \
         become one of {now}"
    )]
    OtherRates {
        /// The schedule.
        sched: ScheduleKind,
        /// The epochs that the run started with.
        then: usize,
        /// The new number.
        now: usize,
    },
    /// The curve cannot be drawn.
    #[error("cannot draw the training curve: {0}")]
    Curve(String),
    /// An op failed.
    #[error(transparent)]
    Candle(Box<candle_core::Error>),
}

fn first_in(origin: Option<&NonFiniteOrigin>) -> String {
    origin.map_or_else(String::new, |origin| format!(": {origin}"))
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(Box::new(error))
    }
}

impl TrainError {
    /// Whether the training itself failed: its loss, a gradient or a weight is infinite or NaN. The same
    /// run fails again, so this is its result.
    pub fn is_divergence(&self) -> bool {
        matches!(
            self,
            Self::NonFiniteLoss { .. }
                | Self::NonFiniteGradient { .. }
                | Self::NonFiniteWeight { .. }
                | Self::NoFiniteUpdate { .. }
        )
    }

    /// Adds the path to an error of writing.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_a_value_that_is_not_finite() {
        let (epoch, step, lr, origin) = (1, 1, 0.1, None);
        let loss = f64::NAN;
        let tensor = "conv.weight".to_owned();
        for error in [
            TrainError::NonFiniteLoss {
                loss,
                epoch,
                step,
                lr,
                origin: None,
            },
            TrainError::NonFiniteGradient {
                epoch,
                step,
                lr,
                origin,
            },
            TrainError::NonFiniteWeight {
                tensor,
                epoch,
                step,
            },
            TrainError::NoFiniteUpdate { epoch },
        ] {
            assert!(error.is_divergence(), "{error}");
        }
        assert!(!TrainError::NoImages.is_divergence());
    }
}
