//! `mish plot pre-activations`: histograms of the inputs of activations before and after training.

use std::path::PathBuf;

use candle_mish::plot::{LayerHistogram, histogram_plots, pre_activations};
use serde_json::json;

use super::images::{STATES, Trained, TrainedArgs};
use crate::args::OUTPUT;
use crate::context::Context;
use crate::failure::Done;
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};

/// Flags of `mish plot pre-activations`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct PreActivationsArgs {
    #[command(flatten)]
    trained: TrainedArgs,
    /// SVG file to write
    #[arg(long, value_name = "FILE", default_value = "pre-activations.svg", help_heading = OUTPUT)]
    output: PathBuf,
    /// Write the histograms as CSV too
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// Runs the network with its initial and its trained weights on the images and draws the histograms.
///
/// # Errors
/// If flags, weights or data are wrong, or a file cannot be written.
pub fn run(args: &PreActivationsArgs, context: &Context) -> anyhow::Result<Done> {
    let plot = OutputFile::new("--output", &args.output, Content::Svg)?;
    let histograms = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let trained = args.trained.open(context)?;
    let batches: Vec<_> = trained.batches.iter().map(|(images, _)| images).collect();
    let initial = trained.initial(batches.iter().copied())?;
    let before = pre_activations(&*initial.frozen, &batches)?;
    let Trained {
        network,
        spec,
        recipe,
        title,
        ..
    } = &trained;
    let after = pre_activations(&*network.frozen, &batches)?;
    let pairs = before.iter().zip(&after);
    let layers: Vec<LayerHistogram> = pairs
        .filter_map(|(before, after)| LayerHistogram::new(&[before, after]))
        .collect();
    plot.write(histogram_plots(title, &STATES, &layers).as_bytes())?;
    if let Some(histograms) = histograms {
        histograms.write(csv(&layers).as_bytes())?;
    }
    if context.json {
        output::json(&json!({
            "model": spec.model,
            "activation": spec.activation,
            "states": STATES,
            "seed": recipe.seed,
            "layers": layers,
            "output": args.output,
            "csv": args.csv,
        }))?;
    } else {
        output::text(&format!(
            "{}: {title}\n\n{}",
            args.output.display(),
            text(&layers)
        ))?;
    }
    Ok(Done::Complete)
}

fn csv(layers: &[LayerHistogram]) -> String {
    let mut text = String::from("layer,state,pre_activation,density\n");
    for layer in layers {
        for (state, densities) in STATES.iter().zip(&layer.densities) {
            for (centre, density) in layer.centres.iter().zip(densities) {
                text.push_str(&format!("{},{state},{centre},{density}\n", layer.layer));
            }
        }
    }
    text
}

fn text(layers: &[LayerHistogram]) -> String {
    let columns = ["layer", "initial mean", "std", "trained mean", "std"];
    let mut table = table(&columns);
    for layer in layers {
        let mut row = vec![layer.layer.clone()];
        for (mean, std) in layer.means.iter().zip(&layer.stds) {
            row.extend([format!("{mean:.3}"), format!("{std:.3}")]);
        }
        table.add_row(row);
    }
    align_right(&mut table, 1..columns.len());
    table.trim_fmt()
}
