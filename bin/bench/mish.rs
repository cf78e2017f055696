//! `mish bench mish`: our Mish, Candle's composition, ReLU, SiLU and copies, in one run.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use candle_mish::{mish, mish_inplace};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

/// What `mish bench mish` is asked for.
#[derive(Debug, Clone, Args)]
pub struct MishBenchArgs {
    /// Shape of the tensor
    #[arg(long, value_delimiter = ',', default_value = "128,64,32,32")]
    pub shape: Vec<usize>,
    /// Threads; all cores if not given
    #[arg(long)]
    pub threads: Option<usize>,
    /// Rounds, each of which measures every case once; the median counts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// One case's time.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// Median time of one call.
    pub milliseconds: f64,
    /// Shortest time of one call.
    pub min_milliseconds: f64,
    /// Bytes that have to be read and written at least, by the median time.
    pub gigabytes_per_second: f64,
}

/// The measurements with what they were made on.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Shape of the f32 tensor.
    pub shape: Vec<usize>,
    /// Threads that were used.
    pub threads: usize,
    /// Rounds measured.
    pub rounds: u32,
    /// All cases, in the order of the table.
    pub measurements: Vec<Measurement>,
    /// candle-nn's time by ours, forward.
    pub forward_speedup: f64,
    /// candle-nn's time by ours, forward and backward.
    pub forward_backward_speedup: f64,
    /// The time of a copy into warm memory by that of Mish, forward.
    pub share_of_copy_speed: f64,
}

struct Case<'a> {
    name: &'static str,
    bytes: usize,
    run: Box<dyn FnMut() -> candle_core::Result<()> + 'a>,
    seconds: Vec<f64>,
}

/// Measures and prints.
///
/// # Errors
/// If the shape holds no elements, or an op or the printing fails.
pub fn run(args: &MishBenchArgs) -> Result<()> {
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = args.threads {
        pool = pool.num_threads(threads);
    }
    let pool = pool.build().context("cannot start the threads")?;
    let report = pool.install(|| measure(&args.shape, args.rounds))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn measure(shape: &[usize], rounds: u32) -> Result<Report> {
    let count: usize = shape.iter().product();
    if count == 0 {
        bail!("a tensor of shape {shape:?} has no elements to measure on");
    }
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

    let mut cases = vec![
        Case::new("copy, warm memory", 2 * bytes, || {
            let chunks = target.par_chunks_mut(chunk).zip(values.par_chunks(chunk));
            chunks.for_each(|(target, values)| target.copy_from_slice(values));
            Ok(())
        }),
        Case::new("mish, in place", 2 * bytes, || mish_inplace(&in_place)),
    ];
    for (name, function) in functions() {
        let x = &x;
        cases.push(Case::new(name, 2 * bytes, move || {
            black_box(function(x)?);
            Ok(())
        }));
    }
    for (name, function) in backward_functions() {
        let variable = variable.as_tensor();
        // x and y, then x, the gradient of y and that of x.
        cases.push(Case::new(name, 5 * bytes, move || {
            black_box(function(variable)?.backward()?);
            Ok(())
        }));
    }
    // The first round warms the allocator and the caches and does not count.
    for round in 0..=rounds {
        for case in &mut cases {
            let start = Instant::now();
            (case.run)()?;
            if round > 0 {
                case.seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let measurements: Vec<Measurement> = cases.into_iter().map(Case::finish).collect();
    let time = |name: &str| {
        let found = measurements.iter().find(|m| m.name == name);
        found.map_or(f64::NAN, |m| m.milliseconds)
    };
    Ok(Report {
        forward_speedup: time("candle-nn mish, forward") / time("mish, forward"),
        forward_backward_speedup: time("candle-nn mish, forward + backward")
            / time("mish, forward + backward"),
        share_of_copy_speed: time("copy, warm memory") / time("mish, forward"),
        shape: shape.to_vec(),
        threads: rayon::current_num_threads(),
        rounds,
        measurements,
    })
}

type Function = fn(&Tensor) -> candle_core::Result<Tensor>;

fn functions() -> [(&'static str, Function); 5] {
    [
        ("mish, forward", mish),
        ("candle-nn mish, forward", candle_nn::ops::mish),
        ("candle relu, forward", Tensor::relu),
        ("candle silu, forward", Tensor::silu),
        ("candle copy, forward", Tensor::copy),
    ]
}

fn backward_functions() -> [(&'static str, Function); 4] {
    [
        ("mish, forward + backward", mish),
        ("candle-nn mish, forward + backward", candle_nn::ops::mish),
        ("candle relu, forward + backward", Tensor::relu),
        ("candle silu, forward + backward", Tensor::silu),
    ]
}

impl<'a> Case<'a> {
    fn new(
        name: &'static str,
        bytes: usize,
        run: impl FnMut() -> candle_core::Result<()> + 'a,
    ) -> Self {
        Self {
            name,
            bytes,
            run: Box::new(run),
            seconds: Vec::new(),
        }
    }

    fn finish(mut self) -> Measurement {
        self.seconds.sort_by(f64::total_cmp);
        let median = self.seconds[self.seconds.len() / 2];
        Measurement {
            name: self.name.to_string(),
            milliseconds: 1e3 * median,
            min_milliseconds: 1e3 * self.seconds[0],
            gigabytes_per_second: 1e-9 * self.bytes as f64 / median,
        }
    }
}

fn print(report: &Report) {
    println!(
        "f32 tensor of shape {:?}, {} threads, median of {} rounds",
        report.shape, report.threads, report.rounds
    );
    println!("{:<38}{:>10}{:>10}{:>10}", "", "ms", "min ms", "GB/s");
    for m in &report.measurements {
        println!(
            "{:<38}{:>10.2}{:>10.2}{:>10.1}",
            m.name, m.milliseconds, m.min_milliseconds, m.gigabytes_per_second
        );
    }
    println!(
        "{:.1} times candle-nn's speed forward, {:.1} times forward and backward, \
         {:.0} % of a copy's speed in warm memory",
        report.forward_speedup,
        report.forward_backward_speedup,
        100.0 * report.share_of_copy_speed
    );
}
