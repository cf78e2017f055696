//! Flags for the loss.

use candle_mish::train::{LossKind, Recipe};
use clap::Args;

use crate::args::range::finite;
use crate::args::set::set;

/// Flags for the loss.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Loss")]
pub struct LossArgs {
    /// cross_entropy or margin [default: cross_entropy, or margin for capsnet]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<LossKind>,
    /// Label smoothing of cross_entropy [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = finite)]
    pub smoothing: Option<f64>,
}

impl LossArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.loss, self.loss);
        set(&mut recipe.smoothing, self.smoothing);
    }
}
