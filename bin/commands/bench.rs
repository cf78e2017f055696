//! `mish bench`: measures speed.

use clap::Subcommand;

use crate::bench::activations::{self, ActivationsBenchArgs};
use crate::bench::data::{self, DataBenchArgs};
use crate::bench::mish::{self, MishBenchArgs};
use crate::bench::network::{self, Mode, NetworkBenchArgs, TrainBenchArgs};
use crate::bench::ops::{self, OpsBenchArgs};
use crate::bench::ranks::{self, RanksBenchArgs};
use crate::context::Context;
use crate::failure::Done;

/// Flags of `mish bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Mish, compared with Candle's Mish, ReLU, SiLU and a copy
    Mish(MishBenchArgs),
    /// Forward and backward of every activation, each element type, compared with ReLU
    Activations(ActivationsBenchArgs),
    /// Ops of a convolutional network, compared with Candle's, on the CPU
    Ops(OpsBenchArgs),
    /// Batches of training images, augmented and mixed
    Data(Box<DataBenchArgs>),
    /// Training steps of a network
    Train(TrainBenchArgs),
    /// Inference of a network
    Infer(NetworkBenchArgs),
    /// Sums of gradients over the ranks of mpirun, and a prediction for more ranks
    Ranks(RanksBenchArgs),
}

/// Runs a benchmark.
///
/// # Errors
/// If a flag is wrong or an op fails.
pub fn run(args: &BenchArgs, context: &Context) -> anyhow::Result<Done> {
    match &args.what {
        What::Mish(args) => mish::run(args, context),
        What::Activations(args) => activations::run(args, context),
        What::Ops(args) => ops::run(args, context),
        What::Data(args) => data::run(args, context),
        What::Train(args) => network::run(&args.network, Mode::Train { amp: args.amp }, context),
        What::Infer(args) => network::run(args, Mode::Infer, context),
        What::Ranks(args) => ranks::run(args, context),
    }
}
