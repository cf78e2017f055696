//! `mish bench activations`: forward and backward of every activation, compared with ReLU.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::{DType, Device};
use candle_mish::Activation;
use candle_mish::study::statistics::{Interval, median, median_interval};
use clap::Args;
use serde::Serialize;

use super::activation_calls::{ActivationCalls, Pass};
use super::mish::{GPU_CALLS, float};
use super::timing::{Call, time_rounds};
use crate::args::range::{MAX_ROUNDS, count};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};
use crate::{csv, device, output};

/// Flags of `mish bench activations`.
#[derive(Debug, Clone, Args)]
pub struct ActivationsBenchArgs {
    /// Activations to time [default: all]
    #[arg(value_name = "ACTIVATION")]
    activations: Vec<Activation>,
    /// Shape of the tensor: images, channels, and further dimensions
    #[arg(
        long,
        value_name = "N,C,..",
        value_delimiter = ',',
        default_value = "128,64,32,32"
    )]
    shape: Vec<usize>,
    /// Element types
    #[arg(
        long,
        value_name = "TYPE,..",
        value_delimiter = ',',
        default_value = "f32,f64,f16,bf16",
        value_parser = float
    )]
    dtype: Vec<DType>,
    /// Rounds to time. Each runs every case once, or ten times on a GPU. Intervals need at least 6
    /// rounds
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = count(1..=MAX_ROUNDS))]
    rounds: usize,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// All measurements and their settings.
#[derive(Debug, Serialize)]
struct Report {
    device: String,
    threads: usize,
    /// The tensor's shape.
    shape: Vec<usize>,
    rounds: usize,
    /// Calls in a row. A round takes their mean.
    calls: usize,
    measurements: Vec<Measurement>,
}

/// The time of an activation in one element type.
#[derive(Debug, PartialEq, Serialize)]
struct Measurement {
    dtype: &'static str,
    activation: String,
    forward: Comparison,
    /// Both passes: forward, and the gradients of the input and of learned parameters.
    forward_backward: Comparison,
}

/// A time over rounds and its ratio to ReLU's in the same rounds.
#[derive(Debug, PartialEq, Serialize)]
struct Comparison {
    median_ms: f64,
    /// The 95 % interval of the median, from six rounds on.
    ci95: Option<Interval>,
    /// The median of the ratios. Other load on the machine affects both times of a round alike.
    ratio: f64,
    ratio_ci95: Option<Interval>,
}

impl Comparison {
    /// From the milliseconds of each round.
    fn of(milliseconds: &[f64], of_relu: &[f64]) -> Self {
        let rounds = milliseconds.iter().zip(of_relu);
        let ratios: Vec<f64> = rounds.map(|(time, relu)| time / relu).collect();
        Self {
            median_ms: median(milliseconds),
            ci95: median_interval(milliseconds),
            ratio: median(&ratios),
            ratio_ci95: median_interval(&ratios),
        }
    }
}

/// Times the activations and prints the result.
///
/// # Errors
/// If the shape lacks channels, is empty or too large, or an op fails.
pub fn run(args: &ActivationsBenchArgs, context: &Context) -> Result<Done> {
    if args.shape.len() < 2 {
        return Err(usage("--shape needs a number of images and of channels"));
    }
    let file = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let device = device::current()?;
    let activations = with_relu_first(&args.activations);
    let mut report = Report {
        device: device::name(device),
        threads: context.threads,
        shape: args.shape.clone(),
        rounds: args.rounds,
        calls: if device.is_cpu() { 1 } else { GPU_CALLS },
        measurements: Vec::new(),
    };
    for dtype in &args.dtype {
        let measured = measure(&activations, *dtype, &report, device)?;
        report.measurements.extend(measured);
    }
    if let Some(file) = file {
        file.write(csv_text(&report).as_bytes())?;
    }
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&text(&report))?;
    }
    Ok(Done::Complete)
}

/// ReLU, then the other activations; all if none is named.
fn with_relu_first(named: &[Activation]) -> Vec<Activation> {
    let mut activations = vec![Activation::Relu];
    let all: Vec<Activation> = Activation::all().collect();
    for activation in if named.is_empty() { &all } else { named } {
        if !activations.contains(activation) {
            activations.push(*activation);
        }
    }
    activations
}

/// Times `activations`, of which the first is ReLU.
fn measure(
    activations: &[Activation],
    dtype: DType,
    report: &Report,
    device: &Device,
) -> Result<Vec<Measurement>> {
    let prepared = ActivationCalls::new(activations, dtype, &report.shape, device)?;
    let of_activation =
        |i| [Pass::Forward, Pass::ForwardBackward].map(|pass| prepared.call(i, pass));
    let mut calls: Vec<Call> = (0..activations.len()).flat_map(of_activation).collect();
    let times = time_rounds(device, &mut calls, report.calls, 1, report.rounds)?;
    let pairs: Vec<&[Vec<f64>]> = times.chunks_exact(2).collect();
    let measurement = |(activation, pair): (&Activation, &&[Vec<f64>])| Measurement {
        dtype: dtype.as_str(),
        activation: activation.to_string(),
        forward: Comparison::of(&pair[0], &pairs[0][0]),
        forward_backward: Comparison::of(&pair[1], &pairs[0][1]),
    };
    Ok(activations.iter().zip(&pairs).map(measurement).collect())
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "Tensor of shape {:?} on {}, threads: {}, rounds: {}, calls in each: {}. Medians with 95 % \
         intervals in ms, and ratios to ReLU\n",
        report.shape, report.device, report.threads, report.rounds, report.calls
    );
    let header = [
        "dtype",
        "activation",
        "forward",
        "95 % interval",
        "ratio",
        "95 % interval",
        "forward + backward",
        "95 % interval",
        "ratio",
        "95 % interval",
    ];
    let mut table = table(&header);
    let range = |interval: Option<Interval>| {
        interval.map_or("-".to_owned(), |ci| {
            format!("{:.3} to {:.3}", ci.low, ci.high)
        })
    };
    for row in &report.measurements {
        let mut cells = vec![row.dtype.to_owned(), row.activation.clone()];
        for pass in [&row.forward, &row.forward_backward] {
            cells.push(format!("{:.3}", pass.median_ms));
            cells.push(range(pass.ci95));
            cells.push(format!("{:.3}", pass.ratio));
            cells.push(range(pass.ratio_ci95));
        }
        table.add_row(cells);
    }
    align_right(&mut table, 2..header.len());
    text += &table.trim_fmt();
    text
}

/// One line for each activation, element type and pass.
fn csv_text(report: &Report) -> String {
    let mut text = "device,threads,dtype,activation,pass,median_ms,low_ms,high_ms,ratio,ratio_low,\
                    ratio_high\n"
        .to_owned();
    for row in &report.measurements {
        for (name, pass) in [
            ("forward", &row.forward),
            ("forward_backward", &row.forward_backward),
        ] {
            let ends = |interval: Option<Interval>| {
                interval.map_or(",".to_owned(), |ci| format!("{},{}", ci.low, ci.high))
            };
            text += &format!(
                "{},{},{},{},{name},{},{},{},{}\n",
                report.device,
                report.threads,
                row.dtype,
                csv::quoted(&row.activation),
                pass.median_ms,
                ends(pass.ci95),
                pass.ratio,
                ends(pass.ratio_ci95),
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use candle_mish::Activation;
    use candle_mish::study::statistics::Interval;

    use super::{Comparison, with_relu_first};

    #[test]
    fn ratios_compare_the_times_of_a_round() {
        // The machine is slower in each round.
        let relu = [1.0, 2.0, 3.0, 4.0, 5.0, 60.0];
        let other = relu.map(|time| 2.0 * time);
        let comparison = Comparison::of(&other, &relu);
        assert_eq!((comparison.median_ms, comparison.ratio), (7.0, 2.0));
        let interval = |low, high| Some(Interval { low, high });
        assert_eq!(comparison.ci95, interval(2.0, 120.0));
        assert_eq!(comparison.ratio_ci95, interval(2.0, 2.0));
        assert_eq!(Comparison::of(&other[1..], &relu[1..]).ci95, None);
    }

    #[test]
    fn relu_is_always_timed() {
        let named = [Activation::Mish, Activation::Relu, Activation::Mish];
        assert_eq!(
            with_relu_first(&named),
            [Activation::Relu, Activation::Mish]
        );
        assert_eq!(with_relu_first(&[]).len(), Activation::all().count());
    }
}
