//! The settings that a report lists.

use std::path::Path;

use candle_mish::data::Dataset;
use candle_mish::swap::SwapOptions;
use candle_mish::train::Recipe;

use crate::context::Context;

/// Everything that the figures depend on, as names and values.
pub fn setting(
    options: &SwapOptions,
    weights: &Path,
    dataset: &Dataset,
    recipe: &Recipe,
    context: &Context,
) -> Vec<(String, String)> {
    let images = dataset.test.len();
    let mut setting = vec![
        ("weights", weights.display().to_string()),
        (
            "images",
            format!("{images} test images of {}", dataset.name),
        ),
    ];
    if !options.layers.is_empty() {
        setting.push(("layers", options.layers.join(", ")));
    }
    if options.recalibration_batches > 0 {
        let batches = options.recalibration_batches;
        let text = format!(
            "{batches} batches of {} training images, augmented",
            recipe.batch_size
        );
        setting.push(("recalibration", text));
    }
    if let Some(fine_tune) = &options.fine_tune {
        let blend = match fine_tune.blend {
            true => ", blended over the first half",
            false => "",
        };
        let text = format!(
            "{} steps of {} images, {} at a rate of {:.4}, {}, weight decay {}{blend}",
            fine_tune.steps,
            recipe.batch_size * recipe.grad_accum_steps,
            recipe.opt,
            recipe.lr,
            recipe.sched,
            recipe.weight_decay
        );
        setting.push(("fine-tuning", text));
    }
    setting.push(("seed", options.seed.to_string()));
    setting.push(("threads", context.threads.to_string()));
    setting.push(("version", env!("CARGO_PKG_VERSION").to_string()));
    setting.push(("command", command()));
    let owned = |(name, value): (&str, String)| (name.to_string(), value);
    setting.into_iter().map(owned).collect()
}

/// The command line, quoted for a shell.
fn command() -> String {
    let quoted = |argument: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=@+".contains(c);
        match !argument.is_empty() && argument.chars().all(plain) {
            true => argument,
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        }
    };
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(argument.to_string_lossy().into_owned()));
    let words = std::iter::once("mish".to_string()).chain(arguments);
    words.collect::<Vec<_>>().join(" ")
}
