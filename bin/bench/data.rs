//! `mish bench data`: the speed of the loader of training images.

use std::time::Instant;

use serde::Serialize;

use super::timing::Timing;
use crate::args::range::{MAX_ROUNDS, count};
use crate::context::Context;
use crate::failure::Done;
use crate::output;
use crate::training_images::TrainingImagesArgs;

/// Batches that do not count: the loader prepares some before the first is taken.
const WARM_UP: usize = 4;

/// Flags of `mish bench data`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_override_self = true, allow_negative_numbers = true)]
pub struct DataBenchArgs {
    /// Batches to time. The speed is the mean over all of them
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(1..=MAX_ROUNDS))]
    steps: usize,
    #[command(flatten)]
    training: TrainingImagesArgs,
}

#[derive(Serialize)]
struct Answer {
    name: String,
    batch_size: usize,
    steps: usize,
    threads: usize,
    #[serde(flatten)]
    timing: Timing,
    images_per_second: f64,
}

/// Times the batches of as many epochs as it takes, and prints the result.
///
/// # Errors
/// If a flag is wrong or an image cannot be read.
pub fn run(args: &DataBenchArgs, context: &Context) -> anyhow::Result<Done> {
    let training = args.training.open(context)?;
    let epochs = (0..).map(|epoch| training.loader.epoch(epoch, 0));
    let mut batches = epochs.flatten();
    let mut milliseconds = Vec::with_capacity(args.steps);
    let mut images = 0;
    for step in 0..WARM_UP + args.steps {
        let clock = Instant::now();
        let Some(batch) = batches.next().transpose()? else {
            break;
        };
        if step >= WARM_UP {
            milliseconds.push(1e3 * clock.elapsed().as_secs_f64());
            images += batch.labels.dim(0)?;
        }
    }
    let total: f64 = milliseconds.iter().sum();
    let Some(timing) = Timing::of(milliseconds) else {
        anyhow::bail!("no batch was timed");
    };
    let answer = Answer {
        name: format!("data_{}", training.dataset.name),
        batch_size: training.recipe.batch_size.min(training.dataset.train.len()),
        steps: args.steps,
        threads: context.threads,
        timing,
        images_per_second: 1e3 * images as f64 / total,
    };
    if context.json {
        output::json(&answer)?;
    } else {
        output::text(&text(&answer))?;
    }
    Ok(Done::Complete)
}

fn text(answer: &Answer) -> String {
    format!(
        "{}: batches of {}, threads: {}\n{:.2} ms per batch (median of {}, {:.2} to {:.2})\n{:.0} img/s",
        answer.name,
        answer.batch_size,
        answer.threads,
        answer.timing.median_ms,
        answer.steps,
        answer.timing.min_ms,
        answer.timing.max_ms,
        answer.images_per_second
    )
}
