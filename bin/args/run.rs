//! Flags for saving a run and ending it early.

use candle_mish::train::{NanAction, RecoveryInterval, RunOptions, TimeSpan};
use clap::Args;

use crate::args::range::count;
use crate::args::set::{replace, set};

/// Limit of `--checkpoint-hist`.
const MAX_CHECKPOINTS: usize = 10_000;

/// Flags for saving a run and ending it early. A resumed run may have other ones.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Interruptions")]
pub struct RunArgs {
    /// Save the state within an epoch every N steps, or after a time such as 10m. A killed run loses
    /// at most that [default: at the end of each epoch only]
    #[arg(long, value_name = "STEPS|TIME")]
    pub recovery_interval: Option<RecoveryInterval>,
    /// Keep the weights of the N best epochs, in addition to the best and the last [default: none]
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_CHECKPOINTS))]
    pub checkpoint_hist: Option<usize>,
    /// Save and exit with code 75 before this time is over: 90m, 1h30m, 01:30:00 [default: no limit]
    #[arg(long, value_name = "TIME")]
    pub time_limit: Option<TimeSpan>,
    /// If a loss or gradient is infinite or NaN: stop the run, or skip the update [default: stop]
    #[arg(long, value_name = "ACTION")]
    pub nan: Option<NanAction>,
}

impl RunArgs {
    /// Overrides `options` with the flags given.
    pub fn apply(&self, options: &mut RunOptions) {
        replace(&mut options.recovery_interval, &self.recovery_interval);
        replace(&mut options.checkpoint_hist, &self.checkpoint_hist);
        replace(&mut options.time_limit, &self.time_limit);
        set(&mut options.nan, self.nan);
    }
}
