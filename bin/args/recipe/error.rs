//! Errors about recipes, in the words of the command line.

use candle_mish::train::RecipeError;
use clap::{Arg, Args as _, Command};

use super::RecipeArgs;
use crate::failure::{flags_for, usage};

/// Fields that are English words, except at the start of a message.
const WORDS: [&str; 6] = ["epochs", "loss", "momentum", "ratio", "scale", "seed"];

/// A usage error that names flags where `error` names the fields of a recipe: `--clip-mode value needs
/// --clip-grad`.
pub fn in_flags(error: RecipeError) -> anyhow::Error {
    let command = RecipeArgs::augment_args(Command::new("recipe"));
    let flags: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
    let is_field = |index: usize, word: &str| {
        let has_flag = flags.contains(&word.replace('_', "-").as_str());
        has_flag && (index == 0 || !WORDS.contains(&word))
    };
    usage(flags_for(&error.to_string(), is_field))
}

#[cfg(test)]
mod tests {
    use candle_mish::train::Recipe;

    use super::in_flags;

    #[test]
    fn fields_become_flags() {
        let message = |toml: &str| {
            let recipe = Recipe::from_toml(toml).and_then(|recipe| recipe.validate());
            in_flags(recipe.expect_err(toml)).to_string()
        };
        assert_eq!(
            message("clip_mode = 'value'"),
            "--clip-mode value needs --clip-grad"
        );
        assert_eq!(
            message("momentum = 2"),
            "--momentum is 2.0, must be at least 0 and less than 1"
        );
        assert_eq!(
            message("cycle_momentum = true\nbase_momentum = 0.9\nmax_momentum = 0.8"),
            "--base-momentum is 0.9, must be at most --max-momentum"
        );
        assert_eq!(
            message("loss = 'margin'\nsmoothing = 0.1"),
            "--smoothing needs the loss cross_entropy"
        );
        assert_eq!(
            message("sched = 'cosine'\nwarmup_epochs = 1\ncooldown_epochs = 12"),
            "--cooldown-epochs is 12.0, must be at most the number of epochs, with --warmup-epochs"
        );
    }
}
