//! `mish bench mish`: our Mish, Candle's Mish, ReLU and SiLU, and copies, in one run.

use std::hint::black_box;

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::activation::activation_gradient;
use candle_mish::{Activation, mish, mish_inplace};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

use super::timing::{Call, Timing, alternate};
use crate::args::range::{MAX_ROUNDS, count};
use crate::context::Context;
use crate::device;
use crate::failure::{Done, usage};
use crate::output;

/// Limit of the tensor's elements, 4 GiB in f32. The benchmarks hold several such tensors.
const MAX_ELEMENTS: usize = 1 << 30;
/// Calls per synchronisation of a GPU, which costs as much as a small kernel.
pub const GPU_CALLS: usize = 10;

/// Flags of `mish bench mish`.
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
    /// Rounds to time. Each runs every case once, or ten times on a GPU. The result is the median
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = count(1..=MAX_ROUNDS))]
    rounds: usize,
    /// Element type: f32, f64, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = float)]
    dtype: DType,
}

/// Parses a floating-point element type.
pub fn float(text: &str) -> Result<DType, String> {
    match text.parse() {
        Ok(dtype @ (DType::F32 | DType::F64 | DType::F16 | DType::BF16)) => Ok(dtype),
        _ => Err("must be f32, f64, f16 or bf16".to_string()),
    }
}

/// The time of one case.
#[derive(Debug, Clone, Serialize)]
struct Measurement {
    name: &'static str,
    #[serde(flatten)]
    timing: Timing,
    /// Bytes to read and write, divided by the median time.
    gb_per_second: f64,
}

/// All measurements and their settings.
#[derive(Debug, Clone, Serialize)]
struct Report {
    /// The tensor's shape.
    shape: Vec<usize>,
    dtype: &'static str,
    device: String,
    threads: usize,
    rounds: usize,
    /// Calls in a row. A round takes their mean.
    calls: usize,
    /// All cases, in the order of the table.
    measurements: Vec<Measurement>,
    /// candle-nn's time divided by ours, forward.
    forward_speedup: f64,
    /// candle-nn's time divided by ours, forward and backward.
    forward_backward_speedup: f64,
    /// Mish's bytes per second, forward, divided by a copy's into warm memory.
    share_of_copy_speed: f64,
    /// The same for the backward pass alone.
    backward_share_of_copy_speed: f64,
}

/// Times Mish and its peers and prints the result.
///
/// # Errors
/// If the shape is empty or too large, or an op fails.
pub fn run(args: &MishBenchArgs, context: &Context) -> Result<Done> {
    let report = measure(args, device::current()?)?;
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&text(&report))?;
    }
    Ok(Done::Complete)
}

fn measure(args: &MishBenchArgs, device: &Device) -> Result<Report> {
    let (shape, rounds) = (args.shape.as_slice(), args.rounds);
    let values = values(shape)?;
    let count = values.len();
    let mut target = vec![0f32; count];
    let x = Tensor::from_slice(&values, shape, &Device::Cpu)?;
    let x = x.to_dtype(args.dtype)?.to_device(device)?;
    let variable = Var::from_tensor(&x)?;
    // At 25 Mish is the identity, so that repeated calls in place do not change the values.
    let in_place = Tensor::full(25f32, shape, &Device::Cpu)?;
    let in_place = in_place.to_dtype(args.dtype)?.to_device(device)?;
    let bytes = args.dtype.size_in_bytes() * count;
    let chunk = count.div_ceil(rayon::current_num_threads());

    // Each case has a name, the bytes that it moves, and a call.
    let mut names = vec![("mish, in place", 2 * bytes)];
    let mut calls: Vec<Call> = vec![Box::new(|| mish_inplace(&in_place))];
    // Candle's copy uses one thread on the CPU.
    if device.is_cpu() {
        names.push((COPY, 2 * DType::F32.size_in_bytes() * count));
        calls.push(Box::new(|| {
            let chunks = target.par_chunks_mut(chunk).zip(values.par_chunks(chunk));
            chunks.for_each(|(target, values)| target.copy_from_slice(values));
            Ok(())
        }));
    } else {
        let target = Var::from_tensor(&x)?;
        let x = &x;
        names.push((COPY, 2 * bytes));
        calls.push(Box::new(move || target.set(x)));
    }
    // x, dy and dx.
    names.push((BACKWARD, 3 * bytes));
    calls.push(Box::new(|| {
        black_box(activation_gradient(&x, &in_place, &Activation::Mish)?);
        Ok(())
    }));
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
        // Forward: x and y. Backward: x, dy and dx.
        names.push((name, 5 * bytes));
        calls.push(Box::new(move || {
            black_box(function(variable)?.backward()?);
            Ok(())
        }));
    }
    // Our tape does not add gradients to zeros.
    names.push((TAPE, 6 * bytes));
    calls.push(Box::new(|| {
        black_box(value_and_grad(|| Ok((mish(variable.as_tensor())?, ())))?);
        Ok(())
    }));
    let repeats = if device.is_cpu() { 1 } else { GPU_CALLS };
    let timings = alternate(device, &mut calls, repeats, 1, rounds)?;
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
    let speed = |name: &str| {
        let found = measurements.iter().find(|m| m.name == name);
        found.map_or(f64::NAN, |m| m.gb_per_second)
    };
    Ok(Report {
        forward_speedup: time(FORWARD[1].0) / time(FORWARD[0].0),
        forward_backward_speedup: time(FORWARD_BACKWARD[1].0) / time(FORWARD_BACKWARD[0].0),
        share_of_copy_speed: speed(FORWARD[0].0) / speed(COPY),
        backward_share_of_copy_speed: speed(BACKWARD) / speed(COPY),
        shape: shape.to_vec(),
        dtype: args.dtype.as_str(),
        device: device::name(device),
        threads: rayon::current_num_threads(),
        rounds,
        calls: repeats,
        measurements,
    })
}

/// The values of a tensor of this shape, evenly from -3 to 3.
///
/// # Errors
/// If the shape is empty or too large.
pub(super) fn values(shape: &[usize]) -> Result<Vec<f32>> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match count.filter(|&n| n <= MAX_ELEMENTS) {
        None => Err(usage(format!("--shape {shape:?} is too large"))),
        Some(0) => Err(usage(format!("--shape {shape:?} has no elements"))),
        Some(count) => Ok((0..count)
            .map(|i| ((i % 1009) as f32 - 504.0) / 168.0)
            .collect()),
    }
}

type Function = fn(&Tensor) -> candle_core::Result<Tensor>;

const COPY: &str = "copy, warm memory";
const BACKWARD: &str = "mish, backward";
const TAPE: &str = "mish, forward + backward on the tape";

/// Our Mish, then its peers.
const FORWARD: [(&str, Function); 5] = [
    ("mish, forward", mish),
    ("candle-nn mish, forward", candle_nn::ops::mish),
    ("candle relu, forward", Tensor::relu),
    ("candle silu, forward", Tensor::silu),
    // `copy` shares the memory on Metal.
    ("candle copy, forward", Tensor::force_contiguous),
];

/// The same with Candle's backward pass.
const FORWARD_BACKWARD: [(&str, Function); 4] = [
    ("mish, forward + backward", mish),
    ("candle-nn mish, forward + backward", candle_nn::ops::mish),
    ("candle relu, forward + backward", Tensor::relu),
    ("candle silu, forward + backward", Tensor::silu),
];

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!(
            "{} tensor of shape {:?} on {}, threads: {}, rounds: {}, calls in each: {}, medians",
            report.dtype, report.shape, report.device, report.threads, report.rounds, report.calls
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
        "Mish runs at {:.1} times candle-nn's speed forward and {:.1} times forward + backward, \
         and at {:.0} % of the speed of a copy in warm memory forward and {:.0} % backward",
        report.forward_speedup,
        report.forward_backward_speedup,
        100.0 * report.share_of_copy_speed,
        100.0 * report.backward_share_of_copy_speed
    ));
    lines.join("\n")
}
