//! `mish plot`: plots activations and networks with them.

mod activations;
mod dead_units;
mod edge_of_chaos;
mod hessian;
mod images;
mod landscape_output;
mod loss_landscape;
mod names;
mod pre_activations;
mod rounded;
mod signal;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Done;

/// Flags of `mish plot`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(allow_negative_numbers = true, arg_required_else_help = true)]
pub struct PlotArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    activations: Option<activations::ActivationsArgs>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Value and derivatives of activations; also without this word: `mish plot mish relu`
    Activations(activations::ActivationsArgs),
    /// Initial weights that keep variances and gradients, by mean-field theory
    EdgeOfChaos(edge_of_chaos::EdgeOfChaosArgs),
    /// Variance and gradient norm by layer of a network with initial weights
    Signal(signal::SignalArgs),
    /// The output of a random network 2-64-32-16-1 over its inputs
    LandscapeOutput(landscape_output::LandscapeOutputArgs),
    /// Histograms of the inputs of activations before and after training
    PreActivations(Box<pre_activations::PreActivationsArgs>),
    /// Units that are zero for all images, before and after training
    DeadUnits(Box<dead_units::DeadUnitsArgs>),
    /// The largest eigenvalues of the Hessian of the loss at trained weights, a table
    Hessian(Box<hessian::HessianArgs>),
    /// Loss and accuracy around trained weights, along random directions
    LossLandscape(Box<loss_landscape::LossLandscapeArgs>),
}

/// Writes a plot.
///
/// # Errors
/// If a flag is wrong, or a file cannot be written.
pub fn run(args: &PlotArgs, context: &Context) -> anyhow::Result<Done> {
    match (&args.what, &args.activations) {
        (Some(What::Activations(args)), _) | (None, Some(args)) => activations::run(args, context),
        (Some(What::EdgeOfChaos(args)), _) => edge_of_chaos::run(args, context),
        (Some(What::Signal(args)), _) => signal::run(args, context),
        (Some(What::LandscapeOutput(args)), _) => landscape_output::run(args, context),
        (Some(What::PreActivations(args)), _) => pre_activations::run(args, context),
        (Some(What::DeadUnits(args)), _) => dead_units::run(args, context),
        (Some(What::Hessian(args)), _) => hessian::run(args, context),
        (Some(What::LossLandscape(args)), _) => loss_landscape::run(args, context),
        (None, None) => Err(crate::failure::usage("name activations, or what to plot")),
    }
}
