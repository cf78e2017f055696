//! `mish bench train` and `mish bench infer`: the speed of a whole network.

use candle_mish::nn::{forward_in_parts, forward_in_pool};
use candle_mish::ops::Target;
use candle_mish::train::optimizer::{ParameterGroup, RuleOptimizer};
use candle_mish::train::{AmpDtype, Recipe, step};
use serde::Serialize;

use super::profile::{self, Profile, Share};
use super::roofline::{Computer, Peaks, Roofline};
use super::subject::{Subject, SubjectArgs};
use super::timing::{Timing, alternate};
use crate::args::range::{MAX_BATCH, MAX_ROUNDS, count};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::{device, output};

/// Steps that do not count: the first ones allocate memory.
const WARM_UP: usize = 2;

/// Flags of `mish bench train`.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainBenchArgs {
    #[command(flatten)]
    pub network: NetworkBenchArgs,
    /// Mixed precision, as in mish train: bf16
    #[arg(long, value_name = "TYPE")]
    pub amp: Option<AmpDtype>,
}

/// Flags of `mish bench infer`, and most of `mish bench train`.
#[derive(Debug, Clone, clap::Args)]
pub struct NetworkBenchArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Images per step
    #[arg(long, short, value_name = "N", default_value_t = 128,
          value_parser = count(1..=MAX_BATCH))]
    batch_size: usize,
    /// Steps to time. The result is the median
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(1..=MAX_ROUNDS))]
    steps: usize,
    /// Also show each op's share of the time, measured in a second pass of --steps steps. In this
    /// pass, inference does not divide batches over the threads
    #[arg(long)]
    profile: bool,
    /// Compare each op with the speed of a matrix product and of a copy, on the CPU
    #[arg(long)]
    roofline: bool,
    /// With --roofline: predict the time of a step on a computer with this number of cores and this rate of a
    /// copy in GB/s. Can be repeated
    #[arg(long, value_name = "CORES:GB/S", requires = "roofline")]
    predict: Vec<Computer>,
}

/// What to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forward, backward and the optimizer's update.
    Train {
        /// Mixed precision.
        amp: Option<AmpDtype>,
    },
    /// Forward with running statistics, without gradients.
    Infer,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Train { .. } => "train",
            Self::Infer => "infer",
        }
    }

    fn amp(self) -> Option<AmpDtype> {
        match self {
            Self::Train { amp } => amp,
            Self::Infer => None,
        }
    }
}

#[derive(Serialize)]
struct Answer {
    name: String,
    model: String,
    activation: String,
    batch_size: usize,
    steps: usize,
    threads: usize,
    params: usize,
    #[serde(flatten)]
    timing: Timing,
    images_per_second: f64,
    /// Billions of operations per second. A multiply-add of a convolution or linear layer counts as
    /// two.
    gflops: f64,
    /// Peak resident memory of the process, if the system reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_bytes: Option<u64>,
    /// The largest share first, with `--profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<Share>>,
    /// With `--roofline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    roofline: Option<Roofline>,
}

/// Times a network and prints the result.
///
/// # Errors
/// If a flag is wrong or a step fails.
pub fn run(args: &NetworkBenchArgs, mode: Mode, context: &Context) -> anyhow::Result<Done> {
    if args.roofline && !device::current()?.is_cpu() {
        return Err(usage("--roofline needs --device cpu"));
    }
    let Subject {
        spec,
        network,
        images,
        labels,
    } = args.subject.build(args.batch_size, mode.amp())?;
    let params = network.store.num_params();
    let (timed, profile) = match mode {
        Mode::Infer => {
            let model = network.for_inference(&spec)?;
            let timed = time(args, &mut || {
                forward_in_parts(&*model, &images, params).map(drop)
            })?;
            // The whole batch: the times of parts that run side by side would not add up.
            let profile = profile(args, &mut || forward_in_pool(&*model, &images).map(drop))?;
            (timed, profile)
        }
        Mode::Train { .. } => {
            let recipe = Recipe::default();
            let groups = ParameterGroup::split(network.store.params(), recipe.weight_decay);
            let mut optimizer = RuleOptimizer::new(recipe.optimizer(), groups)?;
            let mut train_step = || {
                let forward = || Ok((network.model.forward_t(&images, true)?, None));
                step(
                    forward,
                    &Target::Classes(&labels),
                    &recipe,
                    &mut optimizer,
                    0.01,
                )
                .map_err(candle_core::Error::wrap)?;
                Ok(())
            };
            (
                time(args, &mut train_step)?,
                profile(args, &mut train_step)?,
            )
        }
    };
    let roofline = match args.roofline {
        true => Some(Roofline::new(
            &profile.shares,
            Peaks::measure()?,
            &args.predict,
        )),
        false => None,
    };
    let Timed {
        timing,
        peak_rss_bytes,
    } = timed;
    let answer = Answer {
        name: format!(
            "{}_{}_{}",
            mode.name(),
            args.subject.model,
            args.subject.activation.name()
        ),
        model: args.subject.model.clone(),
        activation: args.subject.activation.to_string(),
        batch_size: args.batch_size,
        steps: args.steps,
        threads: context.threads,
        params,
        timing,
        images_per_second: 1e3 * args.batch_size as f64 / timing.median_ms,
        gflops: timing.giga_per_second(2.0 * profile.multiply_adds),
        peak_rss_bytes,
        profile: args.profile.then_some(profile.shares),
        roofline,
    };
    if context.json {
        output::json(&answer)?;
    } else {
        output::text(&text(&answer))?;
    }
    Ok(Done::Complete)
}

/// The times of the steps, and the memory afterwards.
struct Timed {
    timing: Timing,
    peak_rss_bytes: Option<u64>,
}

fn time(
    args: &NetworkBenchArgs,
    step: &mut dyn FnMut() -> candle_core::Result<()>,
) -> anyhow::Result<Timed> {
    let device = device::current()?;
    let timings = alternate(device, &mut [Box::new(step)], 1, WARM_UP, args.steps)?;
    let Some(timing) = timings.into_iter().flatten().next() else {
        anyhow::bail!("no step was timed");
    };
    Ok(Timed {
        timing,
        peak_rss_bytes: peak_rss(),
    })
}

/// Counts the operations in one more step, or measures the time per op in as many steps again.
fn profile(
    args: &NetworkBenchArgs,
    step: &mut dyn FnMut() -> candle_core::Result<()>,
) -> candle_core::Result<Profile> {
    let detailed = args.profile || args.roofline;
    profile::profile(if detailed { args.steps } else { 1 }, step)
}

fn text(answer: &Answer) -> String {
    let mut lines = vec![
        format!(
            "{}: batches of {}, threads: {}",
            answer.name, answer.batch_size, answer.threads
        ),
        format!(
            "{:.1} ms per step (median of {}, {:.1} to {:.1})",
            answer.timing.median_ms, answer.steps, answer.timing.min_ms, answer.timing.max_ms
        ),
        format!(
            "{:.0} img/s, {:.0} GFLOP/s",
            answer.images_per_second, answer.gflops
        ),
    ];
    if let Some(bytes) = answer.peak_rss_bytes {
        lines.push(format!("{} MiB peak memory", bytes >> 20));
    }
    if let Some(shares) = &answer.profile {
        lines.extend([String::new(), profile::table(shares)]);
    }
    if let Some(roofline) = &answer.roofline {
        lines.extend([String::new(), roofline.text()]);
    }
    lines.join("\n")
}

/// Peak resident memory in bytes, from Linux's `/proc`.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
