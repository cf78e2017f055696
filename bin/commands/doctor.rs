//! `mish doctor`: what this program is built with, what it found on this machine, and whether its ranks
//! reach each other.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::ensure;
use candle_core::utils::{cuda_is_available, metal_is_available};
use candle_mish::instruction_set;
use candle_mish::train::communicator::Communicator;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Done;
use crate::table::counted;
use crate::{device, machine, output, ranks};

/// Values of the all-reduce check: 4 MiB of gradients.
const VALUES: usize = 1 << 20;
/// Repetitions of the check; the fastest counts.
const ROUNDS: usize = 5;

/// What the command found.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    /// Features that this program is built with.
    features: Vec<&'static str>,
    system: String,
    processor: String,
    /// Logical cores of this computer, and those that this process may use.
    cores: usize,
    available_cores: usize,
    /// The instruction set of the kernels.
    instructions: &'static str,
    /// Compute threads of this rank.
    threads: usize,
    device: String,
    /// What started the ranks.
    launcher: Option<String>,
    ranks: usize,
    nodes: Vec<String>,
    /// The MPI library.
    mpi: Option<String>,
    /// Seconds of an all-reduce of 4 MiB.
    all_reduce_seconds: Option<f64>,
}

/// Looks, and prints what it finds.
///
/// # Errors
/// If the device cannot be opened, or a sum over the ranks is wrong.
pub fn run(context: &Context) -> anyhow::Result<Done> {
    let communicator = ranks::join(context)?;
    let result = examine(&*communicator, context);
    ranks::leave(&*communicator, result)
}

fn examine(communicator: &dyn Communicator, context: &Context) -> anyhow::Result<Done> {
    let several = communicator.size() > 1;
    let all_reduce_seconds = match several {
        true => Some(all_reduce(communicator)?),
        false => None,
    };
    let nodes = communicator.all_gather(node().as_bytes())?;
    let nodes: BTreeSet<String> = nodes
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        features: features(),
        system: machine::system(),
        processor: machine::processor(),
        cores: machine::node_cores(),
        available_cores: machine::cores(),
        instructions: instruction_set(),
        threads: context.threads,
        device: device::name(device::current()?),
        launcher: context.launched.map(|place| place.launcher.to_string()),
        ranks: communicator.size(),
        nodes: nodes.into_iter().filter(|name| !name.is_empty()).collect(),
        mpi: library(several),
        all_reduce_seconds,
    };
    if communicator.rank() == 0 {
        match context.json {
            true => output::json(&findings)?,
            false => output::text(&findings.lines().join("\n"))?,
        }
    }
    Ok(Done::Complete)
}

impl Findings {
    fn lines(&self) -> Vec<String> {
        let features = match self.features.is_empty() {
            true => "none".to_string(),
            false => self.features.join(", "),
        };
        let launcher = match &self.launcher {
            Some(launcher) => format!("started by {launcher}"),
            None => "without a launcher".to_string(),
        };
        let mut lines = vec![
            format!("program     mish {}, features: {features}", self.version),
            format!("system      {}", self.system),
            format!(
                "processor   {}, {}, {} available, {}",
                self.processor,
                counted(self.cores, "logical core"),
                self.available_cores,
                self.instructions
            ),
            format!("threads     {} per rank", self.threads),
            format!("device      {}{}", self.device, gpus()),
            format!("ranks       {}, {launcher}", self.ranks),
        ];
        if !self.nodes.is_empty() {
            let count = counted(self.nodes.len(), "node");
            lines.push(format!("nodes       {count}: {}", self.nodes.join(", ")));
        }
        lines.push(match &self.mpi {
            Some(library) => format!("mpi         {library}"),
            None => "mpi         not built in (--features mpi)".to_string(),
        });
        if let Some(seconds) = self.all_reduce_seconds {
            lines.push(format!(
                "all-reduce  4 MiB in {:.2} ms, sums are right",
                1e3 * seconds
            ));
        }
        lines
    }
}

/// The features that add something to the program.
fn features() -> Vec<&'static str> {
    let features = [
        ("mpi", cfg!(feature = "mpi")),
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("nccl", cfg!(feature = "nccl")),
        ("metal", cfg!(feature = "metal")),
        ("accelerate", cfg!(feature = "accelerate")),
        ("mkl", cfg!(feature = "mkl")),
    ];
    let built = features.into_iter().filter(|(_, built)| *built);
    built.map(|(name, _)| name).collect()
}

fn gpus() -> &'static str {
    match (cuda_is_available(), metal_is_available()) {
        (false, false) => "; no GPU support built in",
        _ => "",
    }
}

#[cfg(feature = "mpi")]
fn library(started: bool) -> Option<String> {
    use candle_mish::train::communicator::mpi;

    Some(match started {
        true => mpi::library(),
        // Without other ranks MPI is not started.
        false => "built in".to_string(),
    })
}

#[cfg(not(feature = "mpi"))]
fn library(_started: bool) -> Option<String> {
    None
}

/// The name of this computer.
fn node() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_string()
}

/// The seconds of a sum over all ranks. Also checks the other collective operations.
fn all_reduce(communicator: &dyn Communicator) -> anyhow::Result<f64> {
    let (rank, size) = (communicator.rank(), communicator.size());
    let mut fastest = f64::INFINITY;
    for round in 0..ROUNDS {
        let mut values = vec![(rank + round) as f32; VALUES];
        communicator.barrier()?;
        let clock = Instant::now();
        communicator.all_reduce_sum(&mut values)?;
        fastest = fastest.min(clock.elapsed().as_secs_f64());
        let expected = (size * (size - 1) / 2 + size * round) as f32;
        let wrong = values.iter().filter(|value| **value != expected).count();
        ensure!(
            wrong == 0,
            "{wrong} of {VALUES} sums over {size} ranks are not {expected}"
        );
    }
    let mut sent = vec![rank as u8; 3];
    communicator.broadcast(0, &mut sent)?;
    ensure!(
        sent == [0; 3],
        "rank {rank} did not receive the bytes of rank 0"
    );
    Ok(fastest)
}
