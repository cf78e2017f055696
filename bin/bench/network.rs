//! `mish bench train` and `mish bench infer`: the speed of a whole network.

use std::time::Instant;

use candle_core::{Device, Tensor};
use candle_mish::activation::Activation;
use candle_mish::autograd;
use candle_mish::ops::{CrossEntropy, Target, cross_entropy};
use candle_mish::rng::Generator;
use candle_mish::train::Recipe;
use candle_mish::train::optimizer::{ElementwiseOptimizer, Optimizer, ParameterGroup};
use candle_mish_models as models;
use rand::Rng;
use serde::Serialize;

use crate::args::positive;
use crate::failure::{Done, usage};
use crate::network::Network;
use crate::{Context, output};

/// Steps that are not counted: the first ones fetch memory from the system.
const WARM_UP: usize = 2;

/// Flags of `mish bench train` and `mish bench infer`.
#[derive(Debug, Clone, clap::Args)]
pub struct NetworkBenchArgs {
    /// The network
    #[arg(default_value = "resnet20")]
    model: String,
    /// The activation
    #[arg(long, value_name = "NAME", default_value = "mish")]
    activation: Activation,
    /// Images per step
    #[arg(long, short, value_name = "N", default_value_t = 128, value_parser = positive)]
    batch_size: usize,
    /// Steps to time; the median counts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = positive)]
    steps: usize,
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forward, backward and the optimizer's update.
    Train,
    /// Forward with the running statistics, without a graph.
    Infer,
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
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    images_per_second: f64,
    /// The most memory that the process has held so far, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_bytes: Option<u64>,
}

/// Measures and prints.
pub fn run(args: &NetworkBenchArgs, mode: Mode, context: &Context) -> anyhow::Result<Done> {
    let (channels, height, width) = models::find(&args.model).map_err(usage)?.input;
    let classes = 100;
    let network = Network::new(&args.model, &args.activation, classes, 0)?;
    let shape = (args.batch_size, channels, height, width);
    let (images, labels) = batch(shape, classes as u32)?;
    let mut milliseconds = match mode {
        Mode::Infer => time(args.steps, || {
            network.frozen.forward_t(&images, false)?;
            Ok(())
        })?,
        Mode::Train => {
            let recipe = Recipe::default();
            let groups = ParameterGroup::split(network.store.params(), recipe.weight_decay);
            let mut optimizer = ElementwiseOptimizer::new(recipe.rule(), groups)?;
            time(args.steps, || {
                let (_, (), gradients) = autograd::value_and_grad(|| {
                    let logits = network.model.forward_t(&images, true)?;
                    let target = Target::Classes(&labels);
                    Ok((
                        cross_entropy(&logits, &target, &CrossEntropy::default())?,
                        (),
                    ))
                })?;
                optimizer.step(&gradients, 0.01, None)?;
                Ok(())
            })?
        }
    };
    milliseconds.sort_by(f64::total_cmp);
    let median_ms = milliseconds[milliseconds.len() / 2];
    let verb = if mode == Mode::Train {
        "train"
    } else {
        "infer"
    };
    let answer = Answer {
        name: format!("{verb}_{}_{}", args.model, args.activation.name()),
        model: args.model.clone(),
        activation: args.activation.to_string(),
        batch_size: args.batch_size,
        steps: args.steps,
        threads: context.threads,
        params: network.store.num_params(),
        median_ms,
        min_ms: milliseconds[0],
        max_ms: milliseconds[milliseconds.len() - 1],
        images_per_second: 1e3 * args.batch_size as f64 / median_ms,
        peak_rss_bytes: peak_rss(),
    };
    if context.json {
        output::json(&answer)?;
    } else {
        let memory = answer.peak_rss_bytes.map_or(String::new(), |bytes| {
            format!(", {} MiB at most", bytes >> 20)
        });
        output::text(&format!(
            "{}: {:.0} img/s, {:.1} ms for {} images ({:.1} to {:.1} in {} steps), {} threads{memory}",
            answer.name,
            answer.images_per_second,
            answer.median_ms,
            answer.batch_size,
            answer.min_ms,
            answer.max_ms,
            answer.steps,
            answer.threads,
        ))?;
    }
    Ok(Done::Complete)
}

/// Images of noise with random labels.
fn batch(
    shape: (usize, usize, usize, usize),
    classes: u32,
) -> candle_core::Result<(Tensor, Tensor)> {
    let generator = Generator::new(0);
    let mut rng = generator.lock();
    let pixels = shape.0 * shape.1 * shape.2 * shape.3;
    let images: Vec<f32> = (0..pixels).map(|_| rng.random_range(-2.0..2.0)).collect();
    let labels: Vec<u32> = (0..shape.0).map(|_| rng.random_range(0..classes)).collect();
    Ok((
        Tensor::from_vec(images, shape, &Device::Cpu)?,
        Tensor::from_vec(labels, shape.0, &Device::Cpu)?,
    ))
}

/// The milliseconds of each of `steps` calls, at least one.
fn time(
    steps: usize,
    mut step: impl FnMut() -> candle_core::Result<()>,
) -> candle_core::Result<Vec<f64>> {
    for _ in 0..WARM_UP {
        step()?;
    }
    (0..steps.max(1))
        .map(|_| {
            let clock = Instant::now();
            step()?;
            Ok(1e3 * clock.elapsed().as_secs_f64())
        })
        .collect()
}

/// The peak of the resident memory, which Linux tells in `/proc`.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
