//! Training: recipe, optimizers, schedules, the training loop with its checkpoints, and observers.
//!
//! [`train()`] runs a whole training and can resume it, [`train_parallel`] does so on several ranks. [`step()`] takes one step, for loops of your own.

mod available;
mod average;
pub mod communicator;
mod cost;
mod data_parallel;
mod duration;
mod error;
mod finite;
mod forward;
mod images;
mod lease;
pub mod lr_find;
pub mod memory;
mod non_finite;
pub mod observer;
pub mod optimizer;
mod options;
mod parts;
mod rate;
mod recipe;
mod record;
mod reducer;
pub mod run_folder;
mod run_session;
pub mod schedule;
mod state;
mod step;
mod trainer;

pub use average::{Ema, Swa};
pub use communicator::Communicator;
pub use cost::training_flops;
pub use data_parallel::DataParallel;
pub use duration::{TimeSpan, TimeSpanError};
pub use error::TrainError;
pub use non_finite::NonFiniteOrigin;
pub use options::{NanAction, NanActionError, RecoveryInterval, RecoveryIntervalError, RunOptions};
pub use parts::Parts;
pub use rate::rate_text;
pub use recipe::{
    AdjustLr, AmpDtype, ClipMode, DistBn, EvalMetric, LossKind, MuonFallback, NsCoefficients,
    OptimizerKind, OptimizerName, Recipe, RecipeError, RecipeTextError, SchedOn, ScheduleKind,
};
pub use record::{AveragedRecord, EpochRecord, EvaluationSet, Record, Summary};
pub use reducer::Reducer;
pub use run_folder::RunFolder;
pub use run_session::RunSession;
pub use schedule::Schedule;
pub use state::RunState;
pub use step::{Accumulation, Step, StepError, step};
pub use trainer::{Outcome, Run, train, train_parallel};
