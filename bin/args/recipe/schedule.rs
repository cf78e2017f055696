//! Flags for the learning-rate schedule and for early stopping.

use candle_mish::train::{EvalMetric, Recipe, RecipeError, SchedOn, ScheduleKind};
use clap::Args;

use crate::args::range::{finite, whole};
use crate::args::set::{replace, set};

/// Flags for the learning-rate schedule.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Learning rate schedule")]
pub struct ScheduleArgs {
    /// onecycle, cosine, tanh, poly, step, multistep, exponential, plateau or constant [default:
    /// onecycle]
    #[arg(long, value_name = "NAME")]
    pub sched: Option<ScheduleKind>,
    /// Change the rate with each update or with each epoch: updates or epochs [default: updates]
    #[arg(long, value_name = "UNIT")]
    pub sched_on: Option<SchedOn>,
    /// Epochs of linear warm-up, except with onecycle [default: 0]
    #[arg(long, value_name = "N", value_parser = finite)]
    pub warmup_epochs: Option<f64>,
    /// First rate of the warm-up [default: 1e-5]
    #[arg(long, value_name = "RATE", value_parser = finite)]
    pub warmup_lr: Option<f64>,
    /// Whether the schedule starts after the warm-up: true, or false if the warm-up replaces its
    /// first part [default: true for cosine, tanh and poly, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub warmup_prefix: Option<bool>,
    /// cosine, tanh and poly: epochs with --min-lr at the end of the run [default: 0]
    #[arg(long, value_name = "N", value_parser = finite)]
    pub cooldown_epochs: Option<f64>,
    /// cosine, tanh and poly: last rate; plateau: lowest rate [default: 0]
    #[arg(long, value_name = "RATE", value_parser = finite)]
    pub min_lr: Option<f64>,
    /// cosine, tanh and poly: number of cycles in the run [default: 1]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub lr_cycle_limit: Option<usize>,
    /// Length of a cycle divided by the length of the previous cycle [default: 1]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub lr_cycle_mul: Option<f64>,
    /// Highest rate of a cycle divided by that of the previous cycle [default: 0.5]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub lr_cycle_decay: Option<f64>,
    /// cosine and poly: k-decay; above 1, the rate stays high for longer [default: 1]
    #[arg(long, value_name = "K", value_parser = finite)]
    pub lr_k_decay: Option<f64>,
    /// poly: power; 1 is a line [default: 0.5]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub poly_power: Option<f64>,
    /// tanh: argument at the start of a cycle [default: -7]
    #[arg(long, value_name = "X", value_parser = finite)]
    pub tanh_lb: Option<f64>,
    /// tanh: argument at the end of a cycle [default: 3]
    #[arg(long, value_name = "X", value_parser = finite)]
    pub tanh_ub: Option<f64>,
    /// onecycle: share of steps with a rising rate [default: 0.25]
    #[arg(long, value_name = "SHARE", value_parser = finite)]
    pub pct_start: Option<f64>,
    /// onecycle: --lr divided by the first rate [default: 25]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub div_factor: Option<f64>,
    /// onecycle: first rate divided by the last rate [default: 10000]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub final_div_factor: Option<f64>,
    /// onecycle: move the momentum, or the first beta, against the rate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub cycle_momentum: Option<bool>,
    /// Momentum at the highest rate, with --cycle-momentum [default: 0.85]
    #[arg(long, value_name = "M", value_parser = finite)]
    pub base_momentum: Option<f64>,
    /// Momentum at the start and at the end, with --cycle-momentum [default: 0.95]
    #[arg(long, value_name = "M", value_parser = finite)]
    pub max_momentum: Option<f64>,
    /// step: epochs between decays; exponential: epochs over which the rate is multiplied by
    /// --decay-rate [default: 30]
    #[arg(long, value_name = "N", value_parser = finite)]
    pub decay_epochs: Option<f64>,
    /// multistep: epochs after which the rate decays, separated by commas
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', value_parser = finite)]
    pub decay_milestones: Option<Vec<f64>>,
    /// step, multistep, exponential and plateau: factor of a decay [default: 0.1]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub decay_rate: Option<f64>,
    /// plateau: epochs without improvement that do not yet cause a decay [default: 10]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub patience_epochs: Option<usize>,
    /// Metric that selects the best epoch and drives plateau and early stopping: top1 or loss
    /// [default: top1]
    #[arg(long, value_name = "NAME")]
    pub eval_metric: Option<EvalMetric>,
    /// Stop after N epochs without improvement [default: never]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub early_stop_patience: Option<usize>,
    /// Smallest improvement that counts for --early-stop-patience [default: 0]
    #[arg(long, value_name = "DELTA", value_parser = finite)]
    pub early_stop_min_delta: Option<f64>,
}

impl ScheduleArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.sched, self.sched);
        set(&mut recipe.sched_on, self.sched_on);
        set(&mut recipe.warmup_epochs, self.warmup_epochs);
        set(&mut recipe.warmup_lr, self.warmup_lr);
        replace(&mut recipe.warmup_prefix, &self.warmup_prefix);
        replace(&mut recipe.cooldown_epochs, &self.cooldown_epochs);
        set(&mut recipe.min_lr, self.min_lr);
        replace(&mut recipe.lr_cycle_limit, &self.lr_cycle_limit);
        replace(&mut recipe.lr_cycle_mul, &self.lr_cycle_mul);
        replace(&mut recipe.lr_cycle_decay, &self.lr_cycle_decay);
        replace(&mut recipe.lr_k_decay, &self.lr_k_decay);
        replace(&mut recipe.poly_power, &self.poly_power);
        replace(&mut recipe.tanh_lb, &self.tanh_lb);
        replace(&mut recipe.tanh_ub, &self.tanh_ub);
        set(&mut recipe.pct_start, self.pct_start);
        set(&mut recipe.div_factor, self.div_factor);
        set(&mut recipe.final_div_factor, self.final_div_factor);
        set(&mut recipe.cycle_momentum, self.cycle_momentum);
        replace(&mut recipe.base_momentum, &self.base_momentum);
        replace(&mut recipe.max_momentum, &self.max_momentum);
        set(&mut recipe.decay_epochs, self.decay_epochs);
        set(&mut recipe.decay_milestones, self.decay_milestones.clone());
        set(&mut recipe.decay_rate, self.decay_rate);
        replace(&mut recipe.patience_epochs, &self.patience_epochs);
        set(&mut recipe.eval_metric, self.eval_metric);
        replace(&mut recipe.early_stop_patience, &self.early_stop_patience);
        replace(&mut recipe.early_stop_min_delta, &self.early_stop_min_delta);
    }

    /// Refuses flags that have no effect in `recipe`, where their fields always have a value.
    ///
    /// # Errors
    /// Names the field and what it needs.
    pub fn check(&self, recipe: &Recipe) -> Result<(), RecipeError> {
        let given = [
            ("warmup_epochs", self.warmup_epochs.is_some()),
            ("warmup_lr", self.warmup_lr.is_some()),
            ("min_lr", self.min_lr.is_some()),
            ("pct_start", self.pct_start.is_some()),
            ("div_factor", self.div_factor.is_some()),
            ("final_div_factor", self.final_div_factor.is_some()),
            ("decay_epochs", self.decay_epochs.is_some()),
            ("decay_milestones", self.decay_milestones.is_some()),
            ("decay_rate", self.decay_rate.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            recipe.sched.check_reads(field)?;
        }
        if self.warmup_lr.is_some() && recipe.warmup_epochs == 0.0 {
            return Err(RecipeError::Needs {
                field: "warmup_lr",
                needs: "warmup_epochs",
            });
        }
        Ok(())
    }
}
