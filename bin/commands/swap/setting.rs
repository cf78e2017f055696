//! The settings that a report lists.

use std::path::Path;

use candle_mish::data::Dataset;
use candle_mish::swap::{BlendOrder, FineTune, SwapOptions};
use candle_mish::train::{Recipe, rate_text};

use crate::context::Context;
use crate::shell::quoted;
use crate::table::counted;

/// Everything that the figures depend on, as names and values.
pub fn setting(
    options: &SwapOptions,
    weights: &Path,
    dataset: &Dataset,
    calibration: Option<&Path>,
    recipe: &Recipe,
    context: &Context,
) -> Vec<(String, String)> {
    let of = match calibration {
        Some(folder) => format!("images in {}", folder.display()),
        None => "training images".to_string(),
    };
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
        let batches = counted(options.recalibration_batches, "batch");
        let text = format!("{batches} of {} {of}, augmented", recipe.batch_size);
        setting.push(("recalibration", text));
    }
    if !options.corrections.is_empty() {
        let batches = counted(options.correction_batches, "batch");
        let text = format!("{batches} of {} {of}, augmented", recipe.batch_size);
        setting.push(("corrections", text));
    }
    if let Some(distillation) = &options.distillation {
        let features = match distillation.feature_weight {
            0.0 => String::new(),
            weight => format!(", features with weight {weight}"),
        };
        let text = format!(
            "{} on {of} without labels, temperature {}{features}",
            training(&distillation.training),
            distillation.temperature
        );
        setting.push(("distillation", text));
    }
    if let Some(budget) = &options.budget {
        let recalibration = match budget.recalibration_batches {
            0 => "without recalibration".to_string(),
            batches => format!("recalibrated on {}", counted(batches, "batch")),
        };
        let text = format!(
            "{} points of top-1, searched on {} random test images, {recalibration}",
            budget.points, budget.images
        );
        setting.push(("budget", text));
    }
    if let Some(fine_tune) = &options.fine_tune {
        let text = training(fine_tune);
        setting.push(("fine-tuning", text));
    }
    setting.push(("seed", options.seed.to_string()));
    setting.push(("threads", context.threads.to_string()));
    setting.push(("version", env!("CARGO_PKG_VERSION").to_string()));
    setting.push(("command", command()));
    let owned = |(name, value): (&str, String)| (name.to_string(), value);
    setting.into_iter().map(owned).collect()
}

/// A training in words.
fn training(training: &FineTune) -> String {
    let recipe = &training.recipe;
    let blend = match training.blend {
        Some(BlendOrder::AtOnce) => ", blended over the first half",
        Some(BlendOrder::LayerByLayer) => ", blended layer by layer over the first half",
        None => "",
    };
    format!(
        "{} of {} images, {} at a rate of {}, {}, weight decay {}{blend}",
        counted(training.steps, "step"),
        recipe.batch_size * recipe.grad_accum_steps,
        recipe.opt,
        rate_text(recipe.lr),
        recipe.sched,
        recipe.weight_decay
    )
}

/// The command line, quoted for a shell.
fn command() -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(&argument.to_string_lossy()));
    let words = std::iter::once("mish".to_string()).chain(arguments);
    words.collect::<Vec<_>>().join(" ")
}
