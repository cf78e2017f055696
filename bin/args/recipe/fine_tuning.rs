//! Flags for fine-tuning.

use candle_mish::train::Recipe;
use clap::Args;

use crate::args::range::finite;
use crate::args::set::{replace, set};

/// Flags for fine-tuning.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Fine-tuning")]
pub struct FineTuningArgs {
    /// Layer-wise decay: learning rate of a layer divided by the next layer's, toward the
    /// classifier [default: 1]
    #[arg(long, value_name = "F", value_parser = finite)]
    pub layer_decay: Option<f64>,
    /// Train only the classifier
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub freeze_backbone: Option<bool>,
    /// Epochs at the start that train only the classifier [default: 0]
    #[arg(long, value_name = "N", value_parser = finite)]
    pub head_warmup_epochs: Option<f64>,
}

impl FineTuningArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        replace(&mut recipe.layer_decay, &self.layer_decay);
        set(&mut recipe.freeze_backbone, self.freeze_backbone);
        set(&mut recipe.head_warmup_epochs, self.head_warmup_epochs);
    }
}
