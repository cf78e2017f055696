//! Flags for the hyperparameters, one file for each heading of `--help`.

mod augmentation;
mod error;
mod fine_tuning;
mod loss;
mod mixing;
mod optimizer;
mod ranks;
mod schedule;
mod weights;

use std::path::PathBuf;

use candle_mish::train::{AmpDtype, Recipe, RecipeError};
use clap::Args;

use super::range::{seed, whole};
use super::set::{replace, set};
use augmentation::AugmentationArgs;
pub use error::in_flags;
use fine_tuning::FineTuningArgs;
use loss::LossArgs;
use mixing::MixingArgs;
use optimizer::OptimizerArgs;
use ranks::RanksArgs;
use schedule::ScheduleArgs;
use weights::WeightsArgs;

/// Flags for the hyperparameters. `--recipe` or the network's recipe supplies the others, and
/// [`Recipe::validate`] checks the ranges.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training")]
pub struct RecipeArgs {
    /// Hyperparameters by name (`mish recipes` lists them), or a TOML file whose keys are the names of
    /// the flags, with underscores
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<PathBuf>,
    /// Number of epochs: passes over the training images [default: 10]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub epochs: Option<usize>,
    /// Images per batch [default: 128]
    #[arg(long, short, value_name = "N", value_parser = whole)]
    pub batch_size: Option<usize>,
    /// Batches per optimizer step, whose gradients are averaged [default: 1]
    #[arg(long, value_name = "N", value_parser = whole)]
    pub grad_accum_steps: Option<usize>,
    /// Seed of initial weights, order, augmentation and dropout [default: 0]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// Mixed precision on the CPU: bf16 multiplies in bfloat16 in convolutions, and keeps everything
    /// else in f32. Faster on processors with AVX-512 BF16 [default: none]
    #[arg(long, value_name = "TYPE")]
    pub amp: Option<AmpDtype>,
    #[command(flatten)]
    pub optimizer: OptimizerArgs,
    #[command(flatten)]
    pub schedule: ScheduleArgs,
    #[command(flatten)]
    pub loss: LossArgs,
    #[command(flatten)]
    pub augmentation: AugmentationArgs,
    #[command(flatten)]
    pub mixing: MixingArgs,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub fine_tuning: FineTuningArgs,
    #[command(flatten)]
    pub ranks: RanksArgs,
}

impl RecipeArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.grad_accum_steps, self.grad_accum_steps);
        set(&mut recipe.seed, self.seed);
        replace(&mut recipe.amp, &self.amp);
        self.optimizer.apply(recipe);
        self.schedule.apply(recipe);
        self.loss.apply(recipe);
        self.augmentation.apply(recipe);
        self.mixing.apply(recipe);
        self.weights.apply(recipe);
        self.fine_tuning.apply(recipe);
        self.ranks.apply(recipe);
    }

    /// Refuses flags that have no effect in `recipe`, where their fields always have a value.
    ///
    /// # Errors
    /// Names the field and what it needs.
    pub fn check(&self, recipe: &Recipe) -> Result<(), RecipeError> {
        self.schedule.check(recipe)?;
        self.optimizer.check(recipe)?;
        if self.optimizer.momentum.is_some() && recipe.cycle_momentum {
            return Err(RecipeError::Needs {
                field: "momentum",
                needs: "a schedule without cycle_momentum; set base_momentum and max_momentum",
            });
        }
        Ok(())
    }
}
