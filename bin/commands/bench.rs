//! `mish bench`: measures speed.

use clap::Subcommand;

use crate::Context;
use crate::bench::mish::{self, MishBenchArgs};
use crate::bench::network::{self, Mode, NetworkBenchArgs};
use crate::bench::ops::{self, OpsBenchArgs};
use crate::failure::Done;

/// What `mish bench` measures.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Mish beside what it replaces and a copy
    Mish(MishBenchArgs),
    /// Convolution, normalisation, pools, Mish and the loss, beside Candle's own, on the CPU
    Ops(OpsBenchArgs),
    /// A network's training step
    Train(NetworkBenchArgs),
    /// A network's inference
    Infer(NetworkBenchArgs),
}

/// Measures.
pub fn run(args: &BenchArgs, context: &Context) -> anyhow::Result<Done> {
    match &args.what {
        What::Mish(args) => mish::run(args, context),
        What::Ops(args) => ops::run(args, context),
        What::Train(args) => network::run(args, Mode::Train, context),
        What::Infer(args) => network::run(args, Mode::Infer, context),
    }
}
