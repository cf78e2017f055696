//! Groups of flags that commands share. Names are timm's where timm has them.

mod data;
mod named;
pub mod range;
mod recipe;
mod run;
mod set;
mod switch;

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish_models::{ModelArgs, Shortcut, Stem};
use clap::Args;

pub use data::{DataArgs, DecodeArgs, PreprocessArgs, class_map};
pub use recipe::{RecipeArgs, in_flags};
pub use run::RunArgs;
pub use set::set;

use crate::device::DeviceChoice;
use range::{MAX_CHANNELS, MAX_CLASSES, MAX_THREADS, count, number, positive};

/// Heading of flags that choose the network.
pub const NETWORK: &str = "Network";
/// Heading of flags that name results.
pub const OUTPUT: &str = "Output";

/// The heading of the options of a measurement.
pub const METHOD: &str = "Method";
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

/// Flags that describe the network of trained weights. The weights decide what no flag gives.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = NETWORK)]
pub struct NetworkArgs {
    /// Activation of the weights [default: from the weights]
    #[arg(long, value_name = "NAME")]
    pub activation: Option<Activation>,
    /// First layers: cifar or imagenet [default: from the weights]
    #[arg(long, value_name = "NAME")]
    pub stem: Option<Stem>,
    #[command(flatten)]
    pub form: FormArgs,
    /// Number of classes [default: from the weights]
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_CLASSES))]
    pub num_classes: Option<usize>,
}

impl NetworkArgs {
    /// The flags with the network's name, if it is given.
    pub fn model_args(&self, model: Option<&str>) -> ModelArgs {
        ModelArgs {
            model: model.map(str::to_string),
            activation: self.activation,
            layer_activations: None,
            num_classes: self.num_classes,
            stem: self.stem,
            in_chans: self.form.in_chans,
            img_size: None,
            gate: self.form.gate,
            shortcut: self.form.shortcut,
            bn_momentum: None,
            bn_eps: self.form.bn_eps,
            cfg: None,
            drop_rate: None,
            drop_path_rate: None,
        }
    }
}

/// Flags of a network apart from its name, activation, stem and number of classes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = NETWORK)]
pub struct FormArgs {
    /// Image channels: 3, or 1 for grey images. Weights for 3 channels are adapted to 1 [default:
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
    /// Epsilon of batch norms, added to the variance [default: from the weights, or the network's
    /// own, usually 1e-5]
    #[arg(long, value_name = "EPS", value_parser = number::<f64>(positive(1.0)))]
    pub bn_eps: Option<f64>,
}
