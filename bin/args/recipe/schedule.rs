//! Flags for the learning-rate schedule.

use candle_mish::train::{Recipe, ScheduleKind};
use clap::Args;

use crate::args::range::{MAX_EPOCHS, MAX_RATE, number, positive};
use crate::args::set::set;

/// Limit of `--decay-epochs`. A shorter interval is less than a step on most data sets.
const MIN_DECAY_EPOCHS: f64 = 1e-3;

/// Flags for the learning-rate schedule.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Learning rate schedule")]
pub struct ScheduleArgs {
    /// onecycle, cosine, step, multistep or constant [default: onecycle]
    #[arg(long, value_name = "NAME")]
    pub sched: Option<ScheduleKind>,
    /// Epochs of linear warm-up. onecycle ignores it [default: 0]
    #[arg(long, value_name = "N",
          value_parser = number::<f64>(0.0..=MAX_EPOCHS))]
    pub warmup_epochs: Option<f64>,
    /// First rate of the warm-up [default: 1e-5]
    #[arg(long, value_name = "RATE",
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub warmup_lr: Option<f64>,
    /// cosine: last rate [default: 0]
    #[arg(long, value_name = "RATE",
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub min_lr: Option<f64>,
    /// onecycle: share of steps with a rising rate [default: 0.25]
    #[arg(long, value_name = "SHARE",
          value_parser = number::<f64>(0.0..=1.0))]
    pub pct_start: Option<f64>,
    /// onecycle: --lr divided by the first rate [default: 25]
    #[arg(long, value_name = "F",
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub div_factor: Option<f64>,
    /// onecycle: first rate divided by the last rate [default: 10000]
    #[arg(long, value_name = "F",
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub final_div_factor: Option<f64>,
    /// step: epochs between decays [default: 30]
    #[arg(long, value_name = "N",
          value_parser = number::<f64>(MIN_DECAY_EPOCHS..=MAX_EPOCHS))]
    pub decay_epochs: Option<f64>,
    /// multistep: epochs after which the rate decays, separated by commas
    #[arg(long, value_name = "N,N,..", value_delimiter = ',',
          value_parser = number::<f64>(0.0..=MAX_EPOCHS))]
    pub decay_milestones: Option<Vec<f64>>,
    /// step and multistep: factor of a decay [default: 0.1]
    #[arg(long, value_name = "F",
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub decay_rate: Option<f64>,
}

impl ScheduleArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.sched, self.sched);
        set(&mut recipe.warmup_epochs, self.warmup_epochs);
        set(&mut recipe.warmup_lr, self.warmup_lr);
        set(&mut recipe.min_lr, self.min_lr);
        set(&mut recipe.pct_start, self.pct_start);
        set(&mut recipe.div_factor, self.div_factor);
        set(&mut recipe.final_div_factor, self.final_div_factor);
        set(&mut recipe.decay_epochs, self.decay_epochs);
        set(&mut recipe.decay_milestones, self.decay_milestones.clone());
        set(&mut recipe.decay_rate, self.decay_rate);
    }
}
