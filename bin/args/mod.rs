//! Groups of flags that commands share. Names are timm's where timm has them.

mod data;
pub mod range;
mod recipe;
mod set;

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish_models::{ModelSpec, Shortcut};
use clap::Args;

pub use data::{DataArgs, PreprocessArgs};
pub use recipe::RecipeArgs;

use crate::device::DeviceChoice;
use crate::network::Weights;
use range::{MAX_CHANNELS, MAX_THREADS, check_in_chans, count};

/// Heading of flags that choose the network.
pub const NETWORK: &str = "Network";
/// Heading of flags that name results.
pub const OUTPUT: &str = "Output";
const GLOBAL: &str = "Global options";

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Print the result as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Log more: -v information, -vv details, -vvv everything. RUST_LOG overrides this
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Append the log to this file
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Number of threads [default: one per core]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N",
          value_parser = count(1..=MAX_THREADS))]
    pub threads: Option<usize>,
    /// cpu, cuda, cuda:N, metal or auto. auto uses a GPU if this program supports one, else the CPU
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME", default_value_t)]
    pub device: DeviceChoice,
}

/// Flags of a network apart from its name, activation, stem and number of classes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = NETWORK)]
pub struct FormArgs {
    /// Image channels: 3, or 1 for grayscale. Weights for 3 channels are adapted to 1 [default:
    /// from the weights, or 3]
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_CHANNELS))]
    pub in_chans: Option<usize>,
    /// Activation of gates, as in squeeze-and-excitation [default: from the weights, or the
    /// paper's]
    #[arg(long, value_name = "NAME")]
    pub gate: Option<Activation>,
    /// Shortcuts of the CIFAR ResNets where the shape changes: a without parameters, b a 1x1
    /// convolution [default: from the weights, or b]
    #[arg(long, value_name = "NAME")]
    pub shortcut: Option<Shortcut>,
}

impl FormArgs {
    /// Sets what the flags give, or else what the weights record, in `spec`.
    ///
    /// # Errors
    /// If the header of the weights holds an invalid value.
    pub fn apply(&self, spec: &mut ModelSpec, weights: &Weights) -> anyhow::Result<()> {
        if let Some(in_chans) = self.in_chans.or(weights.in_chans()?) {
            check_in_chans(in_chans)?;
            spec.in_chans = in_chans;
        }
        spec.gate = self.gate.or(weights.gate()?);
        if let Some(shortcut) = self.shortcut.or(weights.args()?.shortcut) {
            spec.shortcut = shortcut;
        }
        Ok(())
    }
}
