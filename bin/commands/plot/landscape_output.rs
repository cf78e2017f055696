//! `mish plot landscape-output`: the output of a small random network over its inputs.

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish::plot::OutputLandscape;
use serde_json::json;

use super::names::{distinct, listed};
use crate::args::OUTPUT;
use crate::args::range::{count, seed};
use crate::context::Context;
use crate::failure::Done;
use crate::output;
use crate::output_file::{Content, OutputFile};

/// Limit of `--points`.
const MAX_POINTS: usize = 2000;

/// Flags of `mish plot landscape-output`.
#[derive(Debug, clap::Args)]
pub struct LandscapeOutputArgs {
    /// Activations, with parameters after a colon. Their landscapes are drawn side by side
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Activation>,
    /// Points on each side
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = count(2..=MAX_POINTS))]
    points: usize,
    /// Seed of the weights, which are the same for every activation
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,
    /// PNG file to write
    #[arg(long, value_name = "FILE", default_value = "landscape-output.png", help_heading = OUTPUT)]
    output: PathBuf,
    /// Write the values as CSV too
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// Writes the image.
///
/// # Errors
/// If a file cannot be written.
pub fn run(args: &LandscapeOutputArgs, context: &Context) -> anyhow::Result<Done> {
    let image = OutputFile::new("--output", &args.output, Content::Png)?;
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let activations = distinct(&args.names);
    let landscapes = activations
        .iter()
        .map(|activation| OutputLandscape::new(activation, args.seed, args.points));
    let landscapes = landscapes.collect::<Result<Vec<_>, _>>()?;
    image.write(&OutputLandscape::png(&landscapes)?)?;
    if let Some(table) = table {
        let mut text = String::from("activation,x,y,value\n");
        for (activation, landscape) in activations.iter().zip(&landscapes) {
            let name = activation.to_string();
            let name = crate::csv::quoted(&name);
            for [x, y, value] in landscape.rows() {
                text.push_str(&format!("{name},{x},{y},{value}\n"));
            }
        }
        table.write(text.as_bytes())?;
    }
    let ranges = landscapes.iter().map(OutputLandscape::range);
    if context.json {
        let ranges: Vec<[f64; 2]> = ranges.map(|(low, high)| [low, high]).collect();
        output::json(&json!({
            "activations": activations,
            "ranges": ranges,
            "points": args.points,
            "seed": args.seed,
            "output": args.output,
            "csv": args.csv,
        }))?;
    } else {
        let mut lines = vec![format!(
            "{}: {} over [0, 10]^2, {} x {} points",
            args.output.display(),
            listed(&activations),
            args.points,
            args.points
        )];
        let named = activations.iter().zip(ranges);
        lines.extend(named.map(|(name, (low, high))| format!("{name}: {low:.4} to {high:.4}")));
        output::text(&lines.join("\n"))?;
    }
    Ok(Done::Complete)
}
