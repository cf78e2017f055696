//! `mish plot loss-landscape`: loss and accuracy around trained weights.

use std::path::PathBuf;

use candle_mish::eval::{Evaluation, evaluate};
use candle_mish::landscape::{Direction, Ignored, Normalisation, Point, grid, scan};
use candle_mish::plot::{HeatMap, Line, LinePlot, heat_maps, line_plots, surfaces};
use serde_json::json;

use super::images::{Trained, TrainedArgs};
use crate::args::range::{count, number, seed};
use crate::args::{METHOD, OUTPUT};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;
use crate::output_file::{Content, OutputFile};

/// Limit of `--points`.
const MAX_POINTS: usize = 1001;

/// How values over two directions are drawn.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Form {
    /// Colours with contour lines.
    #[default]
    Map,
    /// A surface seen from above at an angle.
    Surface,
}

/// Flags of `mish plot loss-landscape`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct LossLandscapeArgs {
    #[command(flatten)]
    trained: TrainedArgs,
    /// Directions: 1 for curves, 2 for maps
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(1..=2), help_heading = METHOD)]
    dims: usize,
    /// Form of the maps: map or surface. Needs --dims 2 [default: map]
    #[arg(long, value_name = "NAME", help_heading = METHOD)]
    form: Option<Form>,
    /// Points along each direction [default: 51 for one direction, 21 for two]
    #[arg(long, value_name = "N", value_parser = count(2..=MAX_POINTS), help_heading = METHOD)]
    points: Option<usize>,
    /// Smallest and largest step along each direction
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], default_values = ["-1", "1"],
          value_parser = number::<f64>(-100.0..=100.0), help_heading = METHOD)]
    range: Vec<f64>,
    /// Scale of the directions: filter, layer or weight, as in tomgoldstein/loss-landscape
    #[arg(long, value_name = "NAME", default_value_t = Normalisation::Filter, help_heading = METHOD)]
    xnorm: Normalisation,
    /// Parameters that stay fixed: biasbn (biases and batch norms) or none
    #[arg(long, value_name = "NAME", default_value_t = Ignored::BiasBn, help_heading = METHOD)]
    xignore: Ignored,
    /// Seed of the directions
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, help_heading = METHOD)]
    seed: u64,
    /// SVG file to write
    #[arg(long, value_name = "FILE", default_value = "loss-landscape.svg", help_heading = OUTPUT)]
    output: PathBuf,
    /// Write the values as CSV too
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// Evaluates the network around its weights and draws the results.
///
/// # Errors
/// If flags, weights or data are wrong, or a file cannot be written.
pub fn run(args: &LossLandscapeArgs, context: &Context) -> anyhow::Result<Done> {
    let (low, high) = (args.range[0], args.range[1]);
    if low >= high {
        return Err(usage(format!(
            "--range {low} {high}: LOW must be less than HIGH"
        )));
    }
    if args.form.is_some() && args.dims == 1 {
        return Err(usage("--form needs --dims 2"));
    }
    let plot = OutputFile::new("--output", &args.output, Content::Svg)?;
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let Trained {
        network,
        spec,
        batches,
        title,
        images,
        ..
    } = args.trained.open(context)?;
    let params = network.store.params();
    let directions = ["first direction", "second direction"][..args.dims].iter();
    let directions = directions
        .map(|name| Direction::random(&params, (args.seed, name), args.xnorm, args.xignore))
        .collect::<Result<Vec<_>, _>>()?;
    let points = args.points.unwrap_or(if args.dims == 1 { 51 } else { 21 });
    let steps = grid((low, high), points);
    let at = || evaluate(&*network.frozen, batches.iter().cloned().map(Ok));
    let landscape = scan(&params, &directions, &steps, at)?;
    let svg = match args.dims {
        1 => curves(&title, &landscape),
        _ => {
            let maps = maps(&steps, &landscape);
            match args.form.unwrap_or_default() {
                Form::Map => heat_maps(&title, &maps),
                Form::Surface => surfaces(&title, &maps),
            }
        }
    };
    plot.write(svg.as_bytes())?;
    if let Some(table) = table {
        table.write(csv(&landscape).as_bytes())?;
    }
    if context.json {
        output::json(&json!({
            "model": spec.model,
            "activation": spec.activation,
            "images": images,
            "seed": args.seed,
            "xnorm": args.xnorm.to_string(),
            "xignore": args.xignore.to_string(),
            "points": landscape,
            "output": args.output,
            "csv": args.csv,
        }))?;
    } else {
        output::text(&text(&title, args, &landscape))?;
    }
    Ok(Done::Complete)
}

/// What is drawn of an evaluation.
type Quantity = (&'static str, fn(&Evaluation) -> f64);

const QUANTITIES: [Quantity; 2] = [
    ("loss", |evaluation| evaluation.loss),
    ("top-1 in %", |evaluation| 100.0 * evaluation.top1),
];

fn curves(title: &str, landscape: &[Point<Evaluation>]) -> String {
    let plot = |(name, value): Quantity| LinePlot {
        title: name.to_string(),
        x: "step",
        lines: vec![Line {
            name: name.to_string(),
            points: landscape
                .iter()
                .map(|point| (point.x, value(&point.value)))
                .collect(),
        }],
    };
    line_plots(title, &QUANTITIES.map(plot))
}

fn maps(steps: &[f64], landscape: &[Point<Evaluation>]) -> [HeatMap; 2] {
    // The loss grows by orders of magnitude towards the corners.
    let loss = (
        "log10 of loss",
        (|evaluation| evaluation.loss.log10()) as fn(&Evaluation) -> f64,
    );
    let map = |(name, value): Quantity| HeatMap {
        title: name.to_string(),
        steps: steps.to_vec(),
        values: landscape.iter().map(|point| value(&point.value)).collect(),
    };
    [loss, QUANTITIES[1]].map(map)
}

fn csv(landscape: &[Point<Evaluation>]) -> String {
    let mut text = String::from("x,y,loss,top1,top5\n");
    for Point { x, y, value } in landscape {
        text.push_str(&format!(
            "{x},{y},{},{},{}\n",
            value.loss, value.top1, value.top5
        ));
    }
    text
}

fn text(title: &str, args: &LossLandscapeArgs, landscape: &[Point<Evaluation>]) -> String {
    let losses = landscape.iter().map(|point| point.value.loss);
    let lowest = losses.clone().fold(f64::INFINITY, f64::min);
    let highest = losses.fold(f64::NEG_INFINITY, f64::max);
    format!(
        "{}: {title}, {} points, loss from {lowest:.4} to {highest:.4}",
        args.output.display(),
        landscape.len()
    )
}
