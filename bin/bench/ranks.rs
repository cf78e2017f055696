//! `mish bench ranks`: what communication costs a data parallel run, and what it would cost with more ranks.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use candle_mish::ops::{AllReduce, Target};
use candle_mish::train::communicator::{Communicator, HandOver};
use candle_mish::train::optimizer::{ParameterGroup, RuleOptimizer};
use candle_mish::train::{Accumulation, DataParallel, Recipe, Reducer};
use clap::Args;
use serde::Serialize;

use super::scaling::{Link, Prediction, predict};
use super::subject::{Subject, SubjectArgs};
use super::timing::Timing;
use crate::args::range::{MAX_BATCH, MAX_ROUNDS, count, number, positive};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::network::Network;
use crate::{output, ranks};

/// Steps that do not count: the first ones allocate memory.
const WARM_UP: usize = 2;
/// Limits of `--latency-us` and `--bandwidth-gbs`.
const MAX_LATENCY: f64 = 1e6;
const MAX_BANDWIDTH: f64 = 1e6;
/// Limit of `--bucket-cap-mb`, as of the option of `mish train`.
const MAX_BUCKET: f64 = 1024.0;
/// Values of the sums that measure latency and bandwidth: one, and 16 MiB.
const LATENCY_VALUES: usize = 1;
const BANDWIDTH_VALUES: usize = 4 << 20;

/// Flags of `mish bench ranks`.
#[derive(Debug, Clone, Args)]
pub struct RanksBenchArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Images per step and rank
    #[arg(long, short, value_name = "N", default_value_t = 64,
          value_parser = count(1..=MAX_BATCH))]
    batch_size: usize,
    /// Steps to time for each case. The result is the median
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(1..=MAX_ROUNDS))]
    steps: usize,
    /// Sizes of the buckets of gradients, in MiB
    #[arg(long, value_name = "MIB,MIB,..", value_delimiter = ',', default_value = "25,1,0.25",
          value_parser = number::<f64>(positive(MAX_BUCKET)))]
    bucket_cap_mb: Vec<f64>,
    /// Predict for a network with this time for a message, in microseconds [default: measured]
    #[arg(long, value_name = "US", requires = "bandwidth_gbs",
          value_parser = number::<f64>(positive(MAX_LATENCY)))]
    latency_us: Option<f64>,
    /// Predict for a network with this bandwidth of a rank, in GB/s [default: measured]
    #[arg(long, value_name = "GB/S", requires = "latency_us",
          value_parser = number::<f64>(positive(MAX_BANDWIDTH)))]
    bandwidth_gbs: Option<f64>,
}

/// The times with buckets of one size.
#[derive(Debug, Serialize)]
struct BucketTimes {
    bucket_cap_mb: f64,
    buckets: usize,
    /// The sums of all buckets, with nothing else to do.
    sums: Timing,
    /// A step whose sums run during the backward pass, and after it.
    overlapped: Timing,
    after: Timing,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    activation: String,
    /// Images per step and rank.
    batch_size: usize,
    ranks: usize,
    threads: usize,
    /// Bytes of the gradients.
    gradient_bytes: usize,
    steps: usize,
    /// A step of one rank without sums.
    alone: Timing,
    by_bucket: Vec<BucketTimes>,
    /// The connection of the predictions, and whether it is the measured one.
    link: Link,
    measured_link: bool,
    predictions: Vec<Prediction>,
}

/// Measures, and prints the result on rank 0.
///
/// # Errors
/// If a flag is wrong, a step fails, or there is one rank and no connection to predict for.
pub fn run(args: &RanksBenchArgs, context: &Context) -> anyhow::Result<Done> {
    let communicator = ranks::join(context)?;
    let result = measure_and_print(args, &*communicator, context);
    ranks::leave(&*communicator, result)
}

fn measure_and_print(
    args: &RanksBenchArgs,
    communicator: &dyn Communicator,
    context: &Context,
) -> anyhow::Result<Done> {
    let report = measure(args, communicator, context)?;
    if communicator.rank() == 0 {
        match context.json {
            true => output::json(&report)?,
            false => output::text(&text(&report))?,
        }
    }
    Ok(Done::Complete)
}

fn measure(
    args: &RanksBenchArgs,
    communicator: &dyn Communicator,
    context: &Context,
) -> anyhow::Result<Report> {
    let several = communicator.size() > 1;
    let given = args.latency_us.zip(args.bandwidth_gbs);
    let given = given.map(|(latency, bandwidth)| Link {
        latency_seconds: 1e-6 * latency,
        bytes_per_second: 1e9 * bandwidth,
    });
    if given.is_none() && !several {
        return Err(usage(
            "one rank has nothing to measure: start several with mpirun -n N, or describe a connection with \
             --latency-us and --bandwidth-gbs",
        ));
    }
    let work = Work::new(args)?;
    let values: usize = work
        .network
        .store
        .params()
        .iter()
        .map(|(_, p)| p.elem_count())
        .sum();
    let alone = work.time(communicator, args.steps, |work| work.step(None))?;
    let mut by_bucket = Vec::new();
    if several {
        for cap in &args.bucket_cap_mb {
            by_bucket.push(work.with_buckets(communicator, *cap, args.steps)?);
        }
    }
    let link = match given {
        Some(link) => link,
        None => {
            let seconds = |values| sum_seconds(communicator, values, args.steps);
            Link::between(
                communicator.size(),
                seconds(LATENCY_VALUES)?,
                (
                    size_of::<f32>() * BANDWIDTH_VALUES,
                    seconds(BANDWIDTH_VALUES)?,
                ),
            )
        }
    };
    let gradient_bytes = size_of::<f32>() * values;
    let smallest = args
        .bucket_cap_mb
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min);
    let bucket_bytes = (smallest * f64::from(1 << 20)) as usize;
    Ok(Report {
        model: args.subject.model.clone(),
        activation: args.subject.activation.to_string(),
        batch_size: args.batch_size,
        ranks: communicator.size(),
        threads: context.threads,
        gradient_bytes,
        steps: args.steps,
        predictions: predict(1e-3 * alone.median_ms, gradient_bytes, bucket_bytes, &link),
        alone,
        by_bucket,
        link,
        measured_link: given.is_none(),
    })
}

/// A network, its optimizer and a batch.
struct Work {
    network: Network,
    recipe: Recipe,
    optimizer: std::cell::RefCell<RuleOptimizer>,
    images: Tensor,
    labels: Tensor,
}

impl Work {
    fn new(args: &RanksBenchArgs) -> anyhow::Result<Self> {
        let Subject {
            network,
            images,
            labels,
            ..
        } = args.subject.build(args.batch_size, None)?;
        let recipe = Recipe::default();
        let groups = ParameterGroup::split(network.store.params(), recipe.weight_decay);
        let optimizer = RuleOptimizer::new(recipe.optimizer(), groups)?;
        Ok(Self {
            network,
            recipe,
            optimizer: optimizer.into(),
            images,
            labels,
        })
    }

    fn device(&self) -> &Device {
        self.network.store.device()
    }

    /// A step of this rank, with the sums of `reducer`.
    fn step(&self, reducer: Option<&Reducer<'_>>) -> Result<()> {
        let forward = || Ok((self.network.model.forward_t(&self.images, true)?, None));
        let target = Target::Classes(&self.labels);
        let mut gradients = Accumulation::default();
        let added = match reducer {
            None => gradients.add(forward, &target, &self.recipe),
            Some(reducer) => gradients.add_last(forward, &target, &self.recipe, reducer),
        };
        added.map_err(candle_core::Error::wrap)?;
        gradients.update(&self.recipe, &mut *self.optimizer.borrow_mut(), 0.01)
    }

    /// Times calls that all ranks start together.
    fn time(
        &self,
        communicator: &dyn Communicator,
        steps: usize,
        mut call: impl FnMut(&Self) -> Result<()>,
    ) -> anyhow::Result<Timing> {
        let mut milliseconds = Vec::new();
        for step in 0..WARM_UP + steps {
            communicator.barrier()?;
            let clock = Instant::now();
            call(self)?;
            self.device().synchronize()?;
            if step >= WARM_UP {
                milliseconds.push(1e3 * clock.elapsed().as_secs_f64());
            }
        }
        Timing::of(milliseconds).ok_or_else(|| anyhow::anyhow!("no step was timed"))
    }

    fn with_buckets(
        &self,
        communicator: &dyn Communicator,
        bucket_cap_mb: f64,
        steps: usize,
    ) -> anyhow::Result<BucketTimes> {
        let late = AfterBackward(communicator);
        let reducer = |communicator| {
            let params = self.network.store.params().into_iter();
            let params = params.map(|(_, var)| var).collect();
            let parallel = DataParallel {
                communicator,
                bucket_cap_mb,
            };
            Reducer::new(params, parallel)
        };
        let (overlapping, after) = (reducer(communicator), reducer(&late));
        let sizes = overlapping.bucket_sizes();
        let sums = self.time(communicator, steps, |work| {
            let summed = communicator.all_reduce_during(sizes.len(), &mut |hand_over| {
                for size in &sizes {
                    hand_over(Tensor::zeros(
                        *size,
                        candle_core::DType::F32,
                        work.device(),
                    )?)?;
                }
                Ok(())
            })?;
            assert_eq!(summed.len(), sizes.len());
            Ok(())
        })?;
        Ok(BucketTimes {
            bucket_cap_mb,
            buckets: sizes.len(),
            sums,
            overlapped: self.time(communicator, steps, |work| work.step(Some(&overlapping)))?,
            after: self.time(communicator, steps, |work| work.step(Some(&after)))?,
        })
    }
}

/// Ranks that sum all buffers after the end of the backward pass.
#[derive(Debug)]
struct AfterBackward<'a>(&'a dyn Communicator);

impl AllReduce for AfterBackward<'_> {
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        self.0.all_reduce_sum_f64(values)
    }
}

impl Communicator for AfterBackward<'_> {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        self.0.all_reduce_sum(values)
    }

    fn all_reduce_during(
        &self,
        most: usize,
        body: &mut dyn FnMut(HandOver<'_>) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        self.0.all_reduce_during(most, &mut |hand_over| {
            let mut buffers = Vec::with_capacity(most);
            body(&mut |buffer| {
                buffers.push(buffer);
                Ok(())
            })?;
            buffers.into_iter().try_for_each(&mut *hand_over)
        })
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.0.broadcast(root, bytes)
    }

    fn barrier(&self) -> Result<()> {
        self.0.barrier()
    }

    fn abort(&self, code: u8) {
        self.0.abort(code);
    }
}

/// The median seconds of a sum of this many values over all ranks.
fn sum_seconds(
    communicator: &dyn Communicator,
    values: usize,
    rounds: usize,
) -> anyhow::Result<f64> {
    let mut milliseconds = Vec::new();
    for _ in 0..WARM_UP + rounds {
        let mut values = vec![1.0; values];
        communicator.barrier()?;
        let clock = Instant::now();
        communicator.all_reduce_sum(&mut values)?;
        milliseconds.push(1e3 * clock.elapsed().as_secs_f64());
    }
    let timing = Timing::of(milliseconds.split_off(WARM_UP));
    Ok(timing.map_or(f64::NAN, |timing| 1e-3 * timing.median_ms))
}

fn text(report: &Report) -> String {
    let images =
        |ranks: usize, milliseconds: f64| 1e3 * (ranks * report.batch_size) as f64 / milliseconds;
    let alone = report.alone.median_ms;
    let mut lines = vec![
        format!(
            "{} with {}: {} images per step and rank, ranks: {}, threads of each: {}, {:.1} MiB of gradients",
            report.model,
            report.activation,
            report.batch_size,
            report.ranks,
            report.threads,
            report.gradient_bytes as f64 / f64::from(1 << 20)
        ),
        format!(
            "a step without sums takes {alone:.1} ms (median of {}): {:.0} img/s per rank",
            report.steps,
            images(1, alone)
        ),
    ];
    if !report.by_bucket.is_empty() {
        lines.extend([
            String::new(),
            format!(
                "{:>10}{:>9}{:>10}{:>13}{:>9}{:>11}{:>9}",
                "MiB/bucket", "buckets", "sums, ms", "overlap, ms", "img/s", "after, ms", "img/s"
            ),
        ]);
        lines.extend(report.by_bucket.iter().map(|it| {
            let (overlapped, after) = (it.overlapped.median_ms, it.after.median_ms);
            format!(
                "{:>10}{:>9}{:>10.2}{overlapped:>13.1}{:>9.0}{after:>11.1}{:>9.0}",
                it.bucket_cap_mb,
                it.buckets,
                it.sums.median_ms,
                images(report.ranks, overlapped),
                images(report.ranks, after)
            )
        }));
        lines.push(
            "sums: nothing else runs. overlap: they run during the backward pass. after: they follow it"
                .to_string(),
        );
    }
    let origin = match report.measured_link {
        true => "measured",
        false => "given",
    };
    lines.extend([
        String::new(),
        format!(
            "predicted for {:.1} us per message and {:.2} GB/s ({origin})",
            1e6 * report.link.latency_seconds,
            1e-9 * report.link.bytes_per_second
        ),
        format!(
            "{:>6}{:>10}{:>13}{:>12}{:>11}{:>12}",
            "ranks", "sums, ms", "overlap, ms", "efficiency", "after, ms", "efficiency"
        ),
    ]);
    lines.extend(report.predictions.iter().map(|it| {
        format!(
            "{:>6}{:>10.2}{:>13.1}{:>11.0} %{:>11.1}{:>11.0} %",
            it.ranks,
            1e3 * it.sums_seconds,
            1e3 * it.overlapped_seconds,
            1e-1 * alone / it.overlapped_seconds,
            1e3 * it.after_seconds,
            1e-1 * alone / it.after_seconds
        )
    }));
    lines.join("\n")
}
