//! `mish plot activations`: value and derivatives.

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish::plot::{ActivationCurves, Order};
use serde_json::json;

use super::names::{distinct, listed};
use crate::args::OUTPUT;
use crate::args::range::{count, number};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;
use crate::output_file::{Content, OutputFile};

/// Limit of `--points`.
const MAX_POINTS: usize = 100_000;

/// Flags of `mish plot activations`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct ActivationsArgs {
    /// Activations, with parameters after a colon: leaky_relu:0.1
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Activation>,
    /// Smallest and largest x
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], default_values = ["-5", "5"],
          value_parser = number::<f64>(-1e6..=1e6))]
    range: Vec<f64>,
    /// Derivatives to plot: 0 for the value, 1, 2, separated by commas
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0,1,2",
          value_parser = count(0..=2))]
    derivative: Vec<usize>,
    /// Points of each curve
    #[arg(long, value_name = "N", default_value_t = 501, value_parser = count(2..=MAX_POINTS))]
    points: usize,
    /// SVG file to write
    #[arg(long, value_name = "FILE", default_value = "activations.svg", help_heading = OUTPUT)]
    output: PathBuf,
    /// Write the values as CSV too
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// Writes the plot.
///
/// # Errors
/// If the range is empty, or a file cannot be written.
pub fn run(args: &ActivationsArgs, context: &Context) -> anyhow::Result<Done> {
    let (low, high) = (args.range[0], args.range[1]);
    if low >= high {
        return Err(usage(format!(
            "--range {low} {high}: LOW must be less than HIGH"
        )));
    }
    let plot = OutputFile::new("--output", &args.output, Content::Svg)?;
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let activations = distinct(&args.names);
    let orders = Order::ALL.into_iter();
    let orders: Vec<Order> = orders
        .filter(|order| args.derivative.contains(&order.number()))
        .collect();
    let curves = ActivationCurves::new(&activations, &orders, (low, high), args.points);
    plot.write(curves.svg().as_bytes())?;
    if let Some(table) = table {
        table.write(curves.csv().as_bytes())?;
    }
    if context.json {
        output::json(&json!({
            "activations": activations,
            "derivatives": orders.iter().map(|order| order.number()).collect::<Vec<_>>(),
            "range": [low, high],
            "points": args.points,
            "output": args.output,
            "csv": args.csv,
        }))?;
    } else {
        let orders: Vec<&str> = orders.iter().map(|order| order.name()).collect();
        output::text(&format!(
            "{}: {} of {} from {low} to {high}",
            args.output.display(),
            orders.join(", "),
            listed(&activations)
        ))?;
    }
    Ok(Done::Complete)
}
