//! `mish plot edge-of-chaos`: critical initial weights.

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish::nn::gain;
use candle_mish::plot::{Line, LinePlot, line_plots};
use candle_mish::propagation::{Edge, FixedPoint, MeanField, Phase, edge_curve, edges_of_chaos};
use rayon::prelude::*;
use serde::Serialize;

use super::names::{distinct, listed};
use super::rounded::rounded;
use crate::args::OUTPUT;
use crate::args::range::{number, positive};
use crate::context::Context;
use crate::failure::Done;
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};

/// Largest sigma_b of the plot.
const LIMIT: f64 = 2.0;

/// Flags of `mish plot edge-of-chaos`.
#[derive(Debug, clap::Args)]
pub struct EdgeOfChaosArgs {
    /// Activations, with parameters after a colon [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<Activation>,
    /// Standard deviation of the biases
    #[arg(long, value_name = "STD", default_value_t = 0.0, value_parser = number::<f64>(0.0..=100.0))]
    sigma_b: f64,
    /// Standard deviation of the weights times sqrt(fan-in), for the columns at this initialisation
    /// [default: the gain of the activation, as in He's initialisation]
    #[arg(long, value_name = "STD", value_parser = number::<f64>(positive(100.0)))]
    sigma_w: Option<f64>,
    /// Draw the edge of chaos over sigma_b and sigma_w into this SVG file
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    output: Option<PathBuf>,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

#[derive(Serialize)]
struct Row {
    activation: Activation,
    /// The points on the edge of chaos at this sigma_b.
    edges: Vec<Edge>,
    /// The initialisation of the other columns.
    sigma_w: f64,
    /// The fixed point there, if there is one.
    fixed_point: Option<FixedPoint>,
}

impl Row {
    fn new(activation: &Activation, args: &EdgeOfChaosArgs) -> Self {
        let field = MeanField {
            activation: *activation,
            sigma_w: args.sigma_w.unwrap_or_else(|| gain(activation)),
            sigma_b: args.sigma_b,
        };
        Self {
            activation: *activation,
            edges: edges_of_chaos(activation, args.sigma_b),
            sigma_w: field.sigma_w,
            fixed_point: field.fixed_point(),
        }
    }
}

/// Prints the table and draws the plot.
///
/// # Errors
/// If a file cannot be written.
pub fn run(args: &EdgeOfChaosArgs, context: &Context) -> anyhow::Result<Done> {
    let plot = OutputFile::given("--output", &args.output, Content::Svg)?;
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let activations = match args.names.as_slice() {
        [] => Activation::all().collect(),
        names => distinct(names),
    };
    let rows: Vec<Row> = activations
        .par_iter()
        .map(|activation| Row::new(activation, args))
        .collect();
    if let Some(plot) = plot {
        plot.write(svg(&activations).as_bytes())?;
    }
    if let Some(table) = table {
        table.write(csv(&rows).as_bytes())?;
    }
    if context.json {
        output::json(&rows)?;
    } else {
        output::text(&text(&rows, args))?;
    }
    Ok(Done::Complete)
}

fn svg(activations: &[Activation]) -> String {
    let line = |activation: &Activation| Line {
        name: activation.to_string(),
        points: edge_curve(activation, LIMIT),
    };
    let plot = LinePlot {
        title: "critical sigma_w".to_string(),
        x: "sigma_b",
        lines: activations.par_iter().map(line).collect(),
    };
    line_plots(
        &format!("Edge of chaos of {}", listed(activations)),
        &[plot],
    )
}

/// The columns of a row that depend on the initialisation.
fn at_initialisation(row: &Row) -> [String; 5] {
    let Some(point) = row.fixed_point else {
        let none = || "-".to_string();
        return [
            rounded(row.sigma_w),
            none(),
            none(),
            "no fixed point".to_string(),
            none(),
        ];
    };
    let phase = match point.phase {
        Phase::Ordered => "ordered",
        Phase::Edge => "edge",
        Phase::Chaotic => "chaotic",
    };
    let length = point.correlation_length;
    [
        rounded(row.sigma_w),
        rounded(point.q),
        rounded(point.chi),
        phase.to_string(),
        length.map_or("infinite".to_string(), rounded),
    ]
}

/// The columns of a point on the edge.
fn at_edge(edge: &Edge) -> [String; 3] {
    let stable = match edge.q {
        None => "any".to_string(),
        Some(_) if edge.is_stable() => "yes".to_string(),
        Some(_) if edge.variance_slope > 1.0 + 1e-6 => "no".to_string(),
        Some(_) => "marginal".to_string(),
    };
    let q = edge.q.map_or("any".to_string(), rounded);
    [rounded(edge.sigma_w), q, stable]
}

/// A line for each point on the edge, at least one for each activation.
fn lines(rows: &[Row]) -> Vec<[String; 9]> {
    let mut lines = Vec::new();
    for row in rows {
        let mut edges: Vec<[String; 3]> = row.edges.iter().map(at_edge).collect();
        if edges.is_empty() {
            edges.push(["none".to_string(), "-".to_string(), "-".to_string()]);
        }
        for [sigma_w, q, stable] in edges {
            let [own, own_q, chi, phase, length] = at_initialisation(row);
            let name = row.activation.to_string();
            lines.push([name, sigma_w, q, stable, own, own_q, chi, phase, length]);
        }
    }
    lines
}

fn text(rows: &[Row], args: &EdgeOfChaosArgs) -> String {
    let mut table = table(&[
        "activation",
        "critical sigma_w",
        "q*",
        "stable",
        "sigma_w",
        "q*",
        "chi_1",
        "phase",
        "correlation length",
    ]);
    table.add_rows(lines(rows));
    align_right(&mut table, [1, 2, 4, 5, 6, 8]);
    let weights = match args.sigma_w {
        Some(_) => "",
        None => ", the gain of the activation",
    };
    format!(
        "{}\n\nsigma_b = {}. The first columns are the edge of chaos: chi_1 = 1 at the variance q*. The \
         others are what holds at sigma_w{weights}.",
        table.trim_fmt(),
        args.sigma_b
    )
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::from(
        "activation,critical_sigma_w,critical_q,variance_slope,sigma_w,q,chi_1,phase,correlation,\
         correlation_length\n",
    );
    for row in rows {
        let name = row.activation.to_string();
        let name = crate::csv::quoted(&name).into_owned();
        let own = match row.fixed_point {
            None => format!("{},,,,,", row.sigma_w),
            Some(point) => format!(
                "{},{},{},{},{},{}",
                row.sigma_w,
                point.q,
                point.chi,
                at_initialisation(row)[3],
                point.correlation,
                point
                    .correlation_length
                    .map_or(String::new(), |length| length.to_string())
            ),
        };
        let edge = |edge: &Edge| {
            let q = edge.q.map_or("any".to_string(), |q| q.to_string());
            format!("{},{q},{}", edge.sigma_w, edge.variance_slope)
        };
        let mut edges: Vec<String> = row.edges.iter().map(edge).collect();
        if edges.is_empty() {
            edges.push(",,".to_string());
        }
        for edge in edges {
            text.push_str(&format!("{name},{edge},{own}\n"));
        }
    }
    text
}
