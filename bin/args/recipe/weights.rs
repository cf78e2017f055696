//! Flags for initial and averaged weights.

use candle_mish::nn::Initialiser;
use candle_mish::train::Recipe;
use clap::Args;

use crate::args::range::{finite, whole};
use crate::args::set::{replace, set};

/// Flags for initial and averaged weights.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Weights")]
pub struct WeightsArgs {
    /// Initial weights of all convolutions and linear layers: random_normal, random_uniform,
    /// truncated_normal, orthogonal, lecun_normal, lecun_uniform, glorot_normal, glorot_uniform,
    /// he_normal, he_uniform, xavier_normal or kaiming_normal [default: the network's own]
    #[arg(long, value_name = "NAME")]
    pub init: Option<Initialiser>,
    /// Factor of the standard deviation of --init [default: the gain of the activation for he and
    /// kaiming, else 1]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub init_gain: Option<f64>,
    /// Keep an exponential moving average (EMA) of the weights, evaluate and save it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub model_ema: Option<bool>,
    /// Decay of --model-ema in each step [default: 0.9998]
    #[arg(long, value_name = "DECAY", value_parser = finite)]
    pub model_ema_decay: Option<f64>,
    /// Raise the decay of --model-ema from 0 over the first steps
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub model_ema_warmup: Option<bool>,
    /// Average the weights at the end of this epoch and of all later ones (SWA), and save the mean
    #[arg(long, value_name = "EPOCH", value_parser = whole)]
    pub swa_start: Option<usize>,
    /// Learning rate that SWA anneals to from --swa-start on [default: the schedule's]
    #[arg(long, value_name = "RATE", value_parser = finite)]
    pub swa_lr: Option<f64>,
    /// Epochs of the annealing to --swa-lr [default: 10]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub swa_anneal_epochs: Option<usize>,
}

impl WeightsArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        replace(&mut recipe.init, &self.init);
        replace(&mut recipe.init_gain, &self.init_gain);
        set(&mut recipe.model_ema, self.model_ema);
        replace(&mut recipe.model_ema_decay, &self.model_ema_decay);
        set(&mut recipe.model_ema_warmup, self.model_ema_warmup);
        replace(&mut recipe.swa_start, &self.swa_start);
        replace(&mut recipe.swa_lr, &self.swa_lr);
        replace(&mut recipe.swa_anneal_epochs, &self.swa_anneal_epochs);
    }
}
