//! `mish plot signal`: the signal in the layers of a network with initial weights.

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish::nn::gain;
use candle_mish::plot::{Line, LinePlot, line_plots, network_signals, random_batch};
use candle_mish::propagation::{DenseNetwork, MeanField, Signals};
use candle_mish::train::Recipe;
use candle_mish_models::{ModelArgs, ModelSpec, Stem};
use serde::Serialize;

use super::names::{distinct, listed};
use super::rounded::rounded;
use crate::args::range::{MAX_BATCH, check_batch_of, count, number, positive, seed};
use crate::args::{NETWORK, OUTPUT};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::{Network, entry};
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};
use crate::{device, output};

/// Limits of the dense network.
const MAX_DEPTH: usize = 1000;
const MAX_WIDTH: usize = 4096;
/// Defaults of the dense network.
const DEPTH: usize = 50;
const WIDTH: usize = 256;

/// Flags of `mish plot signal`.
#[derive(Debug, clap::Args)]
pub struct SignalArgs {
    /// Activations, with parameters after a colon
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Activation>,
    /// A network of the zoo, with random images of 32x32 pixels, or 224x224 for the imagenet stem
    /// [default: a random dense network]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    model: Option<String>,
    /// First layers of --model: cifar or imagenet [default: cifar]
    #[arg(long, value_name = "NAME", help_heading = NETWORK, requires = "model")]
    stem: Option<Stem>,
    /// Layers of the dense network [default: 50]
    #[arg(long, value_name = "N", help_heading = NETWORK, conflicts_with = "model",
          value_parser = count(1..=MAX_DEPTH))]
    depth: Option<usize>,
    /// Units of each layer of the dense network [default: 256]
    #[arg(long, value_name = "N", help_heading = NETWORK, conflicts_with = "model",
          value_parser = count(1..=MAX_WIDTH))]
    width: Option<usize>,
    /// Standard deviation of the dense network's weights times sqrt(fan-in) [default: the gain of the
    /// activation, as in He's initialisation]
    #[arg(long, value_name = "STD", help_heading = NETWORK, conflicts_with = "model",
          value_parser = number::<f64>(positive(100.0)))]
    sigma_w: Option<f64>,
    /// Standard deviation of the dense network's biases [default: 0]
    #[arg(long, value_name = "STD", help_heading = NETWORK, conflicts_with = "model",
          value_parser = number::<f64>(0.0..=100.0))]
    sigma_b: Option<f64>,
    /// Random inputs to average over
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count(2..=MAX_BATCH))]
    inputs: usize,
    /// Seed of weights and inputs
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    seed: u64,
    /// SVG file to write
    #[arg(long, value_name = "FILE", default_value = "signal.svg", help_heading = OUTPUT)]
    output: PathBuf,
    /// Write the values as CSV too
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// The signal of the network with one activation.
#[derive(Serialize)]
struct Measured {
    activation: Activation,
    #[serde(flatten)]
    signals: Signals,
}

/// Measures, prints the first and the last layer, and writes the plot.
///
/// # Errors
/// If a network cannot be built, or a file cannot be written.
pub fn run(args: &SignalArgs, context: &Context) -> anyhow::Result<Done> {
    let plot = OutputFile::new("--output", &args.output, Content::Svg)?;
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let activations = distinct(&args.names);
    let measure = |activation: &Activation| {
        let signals = match &args.model {
            Some(model) => zoo(model, activation, args)?,
            None => dense(activation, args)?,
        };
        anyhow::Ok(Measured {
            activation: *activation,
            signals,
        })
    };
    let measured = activations.iter().map(measure);
    let measured = measured.collect::<anyhow::Result<Vec<_>>>()?;
    let network = match &args.model {
        Some(model) => model.clone(),
        None => {
            let (depth, width) = (args.depth.unwrap_or(DEPTH), args.width.unwrap_or(WIDTH));
            format!("a dense network of {depth} layers of {width} units")
        }
    };
    plot.write(svg(&measured, &network).as_bytes())?;
    if let Some(table) = table {
        table.write(csv(&measured).as_bytes())?;
    }
    if context.json {
        output::json(&measured)?;
    } else {
        let names = listed(&activations);
        let path = args.output.display();
        output::text(&format!(
            "{path}: {network} with {names}\n\n{}",
            text(&measured)
        ))?;
    }
    Ok(Done::Complete)
}

fn dense(activation: &Activation, args: &SignalArgs) -> anyhow::Result<Signals> {
    let network = DenseNetwork {
        field: MeanField {
            activation: *activation,
            sigma_w: args.sigma_w.unwrap_or_else(|| gain(activation)),
            sigma_b: args.sigma_b.unwrap_or(0.0),
        },
        depth: args.depth.unwrap_or(DEPTH),
        width: args.width.unwrap_or(WIDTH),
        inputs: args.inputs,
    };
    Ok(network.signals(args.seed)?)
}

/// A network of the zoo on standard normal images with random labels.
fn zoo(model: &str, activation: &Activation, args: &SignalArgs) -> anyhow::Result<Signals> {
    entry(model)?;
    let given = ModelArgs {
        activation: Some(*activation),
        ..ModelArgs::named(model)
    };
    let (spec, size) = match args.stem.unwrap_or_default() {
        Stem::Cifar => (ModelSpec::new(model), 32),
        Stem::ImageNet => (ModelSpec::imagenet(model), 224),
    };
    let spec = given.over(spec);
    let shape = [spec.in_chans, size, size];
    check_batch_of(args.inputs, shape).map_err(|_| {
        usage(format!(
            "--inputs {}: the images do not fit into memory",
            args.inputs
        ))
    })?;
    let recipe = Recipe {
        seed: args.seed,
        ..Recipe::default()
    };
    let network = Network::new(&spec, &recipe)?;
    let shape = [args.inputs, shape[0], shape[1], shape[2]];
    let (images, labels) = random_batch(args.seed, shape, spec.num_classes, device::current()?)?;
    let params = network.store.params();
    Ok(network_signals(&*network.model, &params, &images, &labels)?)
}

type Series = fn(&Signals) -> &[(String, f64)];

/// The name of each quantity, and its values.
const QUANTITIES: [(&str, Series); 2] = [
    ("variance", |signals| &signals.variances),
    ("gradient_norm", |signals| &signals.gradient_norms),
];

fn svg(measured: &[Measured], network: &str) -> String {
    let plot = |(quantity, series): (&str, Series)| LinePlot {
        title: format!("log10 of {}", quantity.replace('_', " ")),
        x: "layer",
        lines: measured
            .iter()
            .map(|one| Line {
                name: one.activation.to_string(),
                points: series(&one.signals)
                    .iter()
                    .enumerate()
                    .map(|(i, (_, value))| ((i + 1) as f64, value.log10()))
                    .collect(),
            })
            .collect(),
    };
    line_plots(&format!("Signal in {network}"), &QUANTITIES.map(plot))
}

fn csv(measured: &[Measured]) -> String {
    let mut text = String::from("activation,quantity,position,layer,value\n");
    for one in measured {
        let name = one.activation.to_string();
        let name = crate::csv::quoted(&name);
        for (quantity, series) in QUANTITIES {
            for (i, (layer, value)) in series(&one.signals).iter().enumerate() {
                text.push_str(&format!("{name},{quantity},{},{layer},{value}\n", i + 1));
            }
        }
    }
    text
}

/// The first and the last layer.
fn text(measured: &[Measured]) -> String {
    let mut table = table(&[
        "activation",
        "variance, first layer",
        "variance, last layer",
        "gradient norm, first layer",
        "gradient norm, last layer",
    ]);
    for one in measured {
        let ends = QUANTITIES.iter().flat_map(|(_, series)| {
            let values = series(&one.signals);
            [values.first(), values.last()]
        });
        let ends = ends.map(|end| end.map_or("-".to_string(), |(_, value)| rounded(*value)));
        let mut row = vec![one.activation.to_string()];
        row.extend(ends);
        table.add_row(row);
    }
    align_right(&mut table, 1..5);
    table.trim_fmt()
}
