//! `mish bench mish`: our Mish, Candle's composition, ReLU, SiLU and copies, in one run.

use std::hint::black_box;

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use candle_mish::{mish, mish_inplace};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

use super::timing::{Call, Timing, alternate};
use crate::args::positive;
use crate::failure::{Done, usage};
use crate::{Context, output};

/// The largest tensor that is measured, 4 GiB: there are several of its size at a time.
const MAX_ELEMENTS: usize = 1 << 30;

/// What `mish bench mish` is asked for.
#[derive(Debug, Clone, Args)]
pub struct MishBenchArgs {
    /// Shape of the tensor
    #[arg(
        long,
        value_name = "N,N,..",
        value_delimiter = ',',
        default_value = "128,64,32,32"
    )]
    shape: Vec<usize>,
    /// Rounds, each of which measures every case once; the median counts
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = positive)]
    rounds: usize,
}

/// One case's time.
#[derive(Debug, Clone, Serialize)]
struct Measurement {
    name: &'static str,
    #[serde(flatten)]
    timing: Timing,
    /// Bytes that have to be read and written at least, by the median time.
    gb_per_second: f64,
}

/// The measurements with what they were made on.
#[derive(Debug, Clone, Serialize)]
struct Report {
    /// Of the f32 tensor.
    shape: Vec<usize>,
    threads: usize,
    rounds: usize,
    /// All cases, in the order of the table.
    measurements: Vec<Measurement>,
    /// candle-nn's time by ours, forward.
    forward_speedup: f64,
    /// candle-nn's time by ours, forward and backward.
    forward_backward_speedup: f64,
    /// The time of a copy into warm memory by that of Mish, forward.
    share_of_copy_speed: f64,
}

/// Measures and prints.
pub fn run(args: &MishBenchArgs, context: &Context) -> Result<Done> {
    let report = measure(&args.shape, args.rounds)?;
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&text(&report))?;
    }
    Ok(Done::Complete)
}

fn measure(shape: &[usize], rounds: usize) -> Result<Report> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let count = match count.filter(|&n| n <= MAX_ELEMENTS) {
        None => return Err(usage(format!("--shape {shape:?} is too large"))),
        Some(0) => {
            return Err(usage(format!(
                "--shape {shape:?} has no elements to measure on"
            )));
        }
        Some(count) => count,
    };
    let values: Vec<f32> = (0..count)
        .map(|i| ((i % 1009) as f32 - 504.0) / 168.0)
        .collect();
    let mut target = vec![0f32; count];
    let x = Tensor::from_slice(&values, shape, &Device::Cpu)?;
    let variable = Var::from_tensor(&x)?;
    // So far to the right Mish is the identity: repeated in place, it stays where it is.
    let in_place = Tensor::full(25f32, shape, &Device::Cpu)?;
    let bytes = DType::F32.size_in_bytes() * count;
    let chunk = count.div_ceil(rayon::current_num_threads());

    // What a case is called and the bytes that it moves, and the case.
    let mut names = vec![(COPY, 2 * bytes), ("mish, in place", 2 * bytes)];
    let mut calls: Vec<Call> = vec![
        Box::new(|| {
            let chunks = target.par_chunks_mut(chunk).zip(values.par_chunks(chunk));
            chunks.for_each(|(target, values)| target.copy_from_slice(values));
            Ok(())
        }),
        Box::new(|| mish_inplace(&in_place)),
    ];
    for (name, function) in FORWARD {
        let x = &x;
        names.push((name, 2 * bytes));
        calls.push(Box::new(move || {
            black_box(function(x)?);
            Ok(())
        }));
    }
    for (name, function) in FORWARD_BACKWARD {
        let variable = variable.as_tensor();
        // x and y, then x, the gradient of y and that of x.
        names.push((name, 5 * bytes));
        calls.push(Box::new(move || {
            black_box(function(variable)?.backward()?);
            Ok(())
        }));
    }
    let timings = alternate(&mut calls, 1, rounds)?;
    let measurements: Vec<Measurement> = names
        .into_iter()
        .zip(timings)
        .filter_map(|((name, bytes), timing)| {
            let timing = timing?;
            Some(Measurement {
                name,
                timing,
                gb_per_second: timing.giga_per_second(bytes as f64),
            })
        })
        .collect();
    let time = |name: &str| {
        let found = measurements.iter().find(|m| m.name == name);
        found.map_or(f64::NAN, |m| m.timing.median_ms)
    };
    Ok(Report {
        forward_speedup: time(FORWARD[1].0) / time(FORWARD[0].0),
        forward_backward_speedup: time(FORWARD_BACKWARD[1].0) / time(FORWARD_BACKWARD[0].0),
        share_of_copy_speed: time(COPY) / time(FORWARD[0].0),
        shape: shape.to_vec(),
        threads: rayon::current_num_threads(),
        rounds,
        measurements,
    })
}

type Function = fn(&Tensor) -> candle_core::Result<Tensor>;

const COPY: &str = "copy, warm memory";

/// Ours first, then what it replaces.
const FORWARD: [(&str, Function); 5] = [
    ("mish, forward", mish),
    ("candle-nn mish, forward", candle_nn::ops::mish),
    ("candle relu, forward", Tensor::relu),
    ("candle silu, forward", Tensor::silu),
    ("candle copy, forward", Tensor::copy),
];

/// Ours first, then what it replaces, through Candle's graph.
const FORWARD_BACKWARD: [(&str, Function); 4] = [
    ("mish, forward + backward", mish),
    ("candle-nn mish, forward + backward", candle_nn::ops::mish),
    ("candle relu, forward + backward", Tensor::relu),
    ("candle silu, forward + backward", Tensor::silu),
];

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!(
            "f32 tensor of shape {:?}, threads: {}, rounds: {}, medians",
            report.shape, report.threads, report.rounds
        ),
        format!(
            "{:<38}{:>10}{:>10}{:>10}{:>10}",
            "", "ms", "min ms", "max ms", "GB/s"
        ),
    ];
    for m in &report.measurements {
        let Timing {
            median_ms,
            min_ms,
            max_ms,
        } = m.timing;
        lines.push(format!(
            "{:<38}{median_ms:>10.2}{min_ms:>10.2}{max_ms:>10.2}{:>10.1}",
            m.name, m.gb_per_second
        ));
    }
    lines.push(format!(
        "{:.1} times candle-nn's speed forward, {:.1} times forward and backward, \
         {:.0} % of a copy's speed in warm memory",
        report.forward_speedup,
        report.forward_backward_speedup,
        100.0 * report.share_of_copy_speed
    ));
    lines.join("\n")
}
