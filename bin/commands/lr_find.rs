//! `mish lr-find`: the learning-rate range test.

use std::path::PathBuf;
use std::sync::Arc;

use candle_mish::data::CheckedSplits;
use candle_mish::train::communicator::Single;
use candle_mish::train::lr_find::{LrFind, Point, RangeTest, Suggestion, Sweep, lr_find};
use candle_mish::train::rate_text;
use indicatif::ProgressBar;
use serde::Serialize;

use super::train::{Prepared, SetupArgs, configure};
use crate::args::OUTPUT;
use crate::args::range::{MAX_RATE, MAX_STEPS, count, number, positive};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::interrupt::stop_on_signal;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, counted, table};
use crate::{dataset, output};

const SWEEP: &str = "Range test";
/// Rows of the table, at most; `--csv` and `--json` have all steps.
const ROWS: usize = 20;

/// Flags of `mish lr-find`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, allow_negative_numbers = true)]
pub struct LrFindArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Learning rate of the first step
    #[arg(long, value_name = "RATE", help_heading = SWEEP, default_value = "1e-7",
          value_parser = number::<f64>(positive(MAX_RATE)))]
    start_lr: f64,
    /// Learning rate of the last step
    #[arg(long, value_name = "RATE", help_heading = SWEEP, default_value_t = 10.0,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    end_lr: f64,
    /// Number of steps
    #[arg(long, value_name = "N", help_heading = SWEEP, default_value_t = 100,
          value_parser = count(2..=MAX_STEPS))]
    num_iter: usize,
    /// Draw the losses into this SVG file
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    plot: Option<PathBuf>,
    /// Print all steps as CSV
    #[arg(long, conflicts_with = "json", help_heading = OUTPUT)]
    csv: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    activation: String,
    dataset: &'a str,
    /// Images per step.
    images: usize,
    suggestion: Option<Suggestion>,
    #[serde(flatten)]
    test: &'a RangeTest,
}

/// Trains a fresh network while the learning rate rises, and prints the losses and the rates that they
/// suggest. It leaves no files but the plot.
///
/// # Errors
/// If flags, files or data are wrong, or a step fails.
pub fn run(args: &LrFindArgs, context: &Context) -> anyhow::Result<Done> {
    if args.start_lr >= args.end_lr {
        return Err(usage(format!(
            "--start-lr {}: must be less than --end-lr {}",
            args.start_lr, args.end_lr
        )));
    }
    let plot = OutputFile::given("--plot", &args.plot, Content::Svg)?;
    let setup = configure(&args.setup, None, None, context, Arc::new(Single))?;
    let dataset = dataset::open(&setup.config.data, CheckedSplits::All, context)?;
    let prepared = Prepared::new(setup, dataset)?;
    let stop = stop_on_signal()?;
    let bar = context.bars.add(ProgressBar::new(args.num_iter as u64));
    let test = lr_find(
        &LrFind {
            model: &*prepared.network.model,
            auxiliary: prepared.network.model.auxiliary(),
            parts: prepared.parts(),
            store: &prepared.network.store,
            train: &prepared.loader(&prepared.dataset.train, true),
            recipe: &prepared.config.recipe,
            sweep: Sweep {
                start_lr: args.start_lr,
                end_lr: args.end_lr,
                num_iter: args.num_iter,
            },
            stop: &stop,
        },
        &mut |_| bar.inc(1),
    )?;
    bar.finish_and_clear();
    // The file comes first, because stdout may be a closed pipe.
    if let Some(plot) = plot {
        plot.write(test.svg(&prepared.title()).as_bytes())?;
    }
    if context.json {
        let recipe = &prepared.config.recipe;
        let images = recipe.batch_size.min(prepared.dataset.train.len());
        output::json(&Answer {
            model: &prepared.spec.model,
            activation: prepared.spec.activation.to_string(),
            dataset: &prepared.dataset.name,
            images: images * recipe.grad_accum_steps,
            suggestion: test.suggestion(),
            test: &test,
        })?;
    } else if args.csv {
        output::text(&csv(&test.points))?;
    } else {
        output::text(&text(&test, args))?;
    }
    Ok(match test.points.len() < args.num_iter && !test.diverged {
        true => Done::Interrupted,
        false => Done::Complete,
    })
}

fn csv(points: &[Point]) -> String {
    let line = |point: &Point| format!("{},{},{}\n", point.lr, point.loss, point.smoothed);
    let lines = points.iter().map(line);
    format!("lr,loss,smoothed\n{}", lines.collect::<String>())
}

fn text(test: &RangeTest, args: &LrFindArgs) -> String {
    let mut rows = table(&["learning rate", "loss", "running mean"]);
    let every = test.points.len().div_ceil(ROWS).max(1);
    for point in test.points.iter().step_by(every) {
        rows.add_row([
            format!("{:.2e}", point.lr),
            format!("{:.4}", point.loss),
            format!("{:.4}", point.smoothed),
        ]);
    }
    align_right(&mut rows, 0..3);
    let end = match test.points.last().filter(|_| test.diverged) {
        Some(last) => format!("The loss diverged at a rate of {}.", rate_text(last.lr)),
        None => format!(
            "The loss did not diverge in {}.",
            counted(test.points.len(), "step")
        ),
    };
    format!("{}\n{end}\n{}", rows.trim_fmt(), advice(test, args))
}

/// The suggested rates, or what to change for a suggestion.
fn advice(test: &RangeTest, args: &LrFindArgs) -> String {
    if let Some(suggestion) = test.suggestion() {
        return format!(
            "Suggested --lr: {}, where the loss falls the fastest; or {}, a tenth of the rate with \
             the lowest loss.",
            rate_text(suggestion.steepest),
            rate_text(suggestion.minimum_tenth)
        );
    }
    let reason = match test.rises() {
        true => format!(
            "the loss does not fall from {} on, or in too few steps; lower --start-lr or raise \
             --num-iter",
            rate_text(args.start_lr)
        ),
        false => format!(
            "the loss does not rise again up to {}; raise --end-lr",
            rate_text(args.end_lr)
        ),
    };
    format!("No suggestion: {reason}.")
}
