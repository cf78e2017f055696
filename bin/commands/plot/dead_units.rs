//! `mish plot dead-units`: units that are zero for all images, before and after training.

use std::path::PathBuf;

use candle_mish::plot::{DeadUnits, Line, LinePlot, UnitResponses, line_plots, unit_responses};
use serde::Serialize;
use serde_json::json;

use super::images::{STATES, Trained, TrainedArgs};
use crate::args::range::number;
use crate::args::{METHOD, OUTPUT};
use crate::context::Context;
use crate::failure::Done;
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};

/// Flags of `mish plot dead-units`.
#[derive(Debug, clap::Args)]
pub struct DeadUnitsArgs {
    #[command(flatten)]
    trained: TrainedArgs,
    /// Largest magnitude that counts as zero
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number::<f32>(0.0..=1e6), help_heading = METHOD)]
    threshold: f32,
    /// SVG file to write
    #[arg(long, value_name = "FILE", default_value = "dead-units.svg", help_heading = OUTPUT)]
    output: PathBuf,
    /// Write the numbers as CSV too
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// The dead units of a layer, with the initial and with the trained weights.
#[derive(Serialize)]
struct Layer {
    layer: String,
    initial: DeadUnits,
    trained: DeadUnits,
}

impl Layer {
    fn states(&self) -> [DeadUnits; 2] {
        [self.initial, self.trained]
    }
}

/// Runs the network with its initial and its trained weights on the images and counts the units that
/// do not respond.
///
/// # Errors
/// If flags, weights or data are wrong, or a file cannot be written.
pub fn run(args: &DeadUnitsArgs, context: &Context) -> anyhow::Result<Done> {
    let plot = OutputFile::new("--output", &args.output, Content::Svg)?;
    let numbers = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let trained = args.trained.open(context)?;
    let images = || trained.batches.iter().map(|(images, _)| images);
    let initial = trained.initial(images())?;
    let before = unit_responses(&*initial.frozen, images())?;
    let after = unit_responses(&*trained.network.frozen, images())?;
    let layer = |(before, after): (&UnitResponses, &UnitResponses)| Layer {
        layer: before.layer.clone(),
        initial: before.dead(args.threshold),
        trained: after.dead(args.threshold),
    };
    let layers: Vec<Layer> = before.iter().zip(&after).map(layer).collect();
    let Trained {
        spec,
        recipe,
        title,
        images,
        ..
    } = &trained;
    plot.write(svg(title, &layers).as_bytes())?;
    if let Some(numbers) = numbers {
        numbers.write(csv(&layers).as_bytes())?;
    }
    if context.json {
        output::json(&json!({
            "model": spec.model,
            "activation": spec.activation,
            "images": images,
            "seed": recipe.seed,
            "threshold": args.threshold,
            "layers": layers,
            "output": args.output,
            "csv": args.csv,
        }))?;
    } else {
        let path = args.output.display();
        output::text(&format!("{path}: {title}\n\n{}", text(&layers)))?;
    }
    Ok(Done::Complete)
}

/// What is counted.
type Quantity = (&'static str, fn(&DeadUnits) -> usize);

const QUANTITIES: [Quantity; 2] = [
    ("output", |dead| dead.zero_output),
    ("derivative", |dead| dead.zero_derivative),
];

/// A count as a share of the units, in percent.
fn percent(count: usize, dead: &DeadUnits) -> f64 {
    100.0 * count as f64 / dead.units.max(1) as f64
}

fn svg(title: &str, layers: &[Layer]) -> String {
    let plot = |(name, count): Quantity| LinePlot {
        title: format!("units with zero {name}, %"),
        x: "activation layer",
        lines: STATES
            .iter()
            .enumerate()
            .map(|(state, name)| Line {
                name: (*name).to_string(),
                points: layers
                    .iter()
                    .enumerate()
                    .map(|(i, layer)| {
                        let dead = layer.states()[state];
                        ((i + 1) as f64, percent(count(&dead), &dead))
                    })
                    .collect(),
            })
            .collect(),
    };
    line_plots(title, &QUANTITIES.map(plot))
}

fn csv(layers: &[Layer]) -> String {
    let mut text = String::from("layer,state,units,zero_output,zero_derivative\n");
    for layer in layers {
        for (state, dead) in STATES.iter().zip(layer.states()) {
            text.push_str(&format!(
                "{},{state},{},{},{}\n",
                layer.layer, dead.units, dead.zero_output, dead.zero_derivative
            ));
        }
    }
    text
}

fn text(layers: &[Layer]) -> String {
    let columns = [
        "layer",
        "units",
        "initial: zero output",
        "zero derivative",
        "trained: zero output",
        "zero derivative",
    ];
    let mut table = table(&columns);
    let percents = |states: &[DeadUnits]| {
        let counts = states.iter().flat_map(|dead| {
            QUANTITIES.map(|(_, count)| format!("{:.1} %", percent(count(dead), dead)))
        });
        counts.collect::<Vec<String>>()
    };
    for layer in layers {
        let mut row = vec![layer.layer.clone(), layer.initial.units.to_string()];
        row.extend(percents(&layer.states()));
        table.add_row(row);
    }
    let total = |state: usize| {
        layers.iter().fold(DeadUnits::default(), |sum, layer| {
            sum + layer.states()[state]
        })
    };
    let totals = [total(0), total(1)];
    let mut row = vec!["all".to_string(), totals[0].units.to_string()];
    row.extend(percents(&totals));
    table.add_row(row);
    align_right(&mut table, 1..columns.len());
    table.trim_fmt()
}
