//! The flags of `mish train` and of `train-<family>`.

use std::path::PathBuf;

use candle_mish::activation::Activation;
use candle_mish_models::{ModelArgs, Stem};

use super::observers::ObserverArgs;
use crate::args::range::{MAX_CLASSES, count, number, positive};
use crate::args::{DataArgs, FormArgs, NETWORK, OUTPUT, PreprocessArgs, RecipeArgs, RunArgs};

/// Flags that define what to train: the network, its images and the recipe.
#[derive(Debug, clap::Args)]
pub struct SetupArgs {
    /// The network. `mish models` lists all
    pub(super) model: Option<String>,
    /// mish, relu, silu, gelu, leaky_relu:0.1, … `mish activations` lists all [default: mish]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    pub(super) activation: Option<Activation>,
    /// Number of classes [default: from the data set]
    #[arg(long, value_name = "N", help_heading = NETWORK, value_parser = count(1..=MAX_CLASSES))]
    pub(super) num_classes: Option<usize>,
    /// First layers: cifar keeps the resolution, imagenet divides it by 4 [default: cifar for
    /// images of up to 64 pixels, else imagenet]
    #[arg(long, value_name = "NAME", help_heading = NETWORK)]
    pub(super) stem: Option<Stem>,
    #[command(flatten)]
    pub(super) form: FormArgs,
    /// Dropout rate before the classifier [default: 0]
    #[arg(long, value_name = "P", help_heading = NETWORK, value_parser = number::<f64>(0.0..1.0))]
    pub(super) drop: Option<f64>,
    /// Stochastic depth: probability of skipping the last residual block [default: 0]
    #[arg(long, value_name = "P", help_heading = NETWORK, value_parser = number::<f64>(0.0..1.0))]
    pub(super) drop_path: Option<f64>,
    /// Weight of the newest batch in the running statistics of batch norms [default: the network's
    /// own, usually 0.1]
    #[arg(long, value_name = "M", help_heading = NETWORK, value_parser = number::<f64>(positive(1.0)))]
    pub(super) bn_momentum: Option<f64>,
    /// Gradient checkpointing: keep only the input of each block, and compute its activations again in
    /// the backward pass. Needs less memory and more time, with the same result
    #[arg(long, value_name = "BOOL", help_heading = NETWORK, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    pub(super) grad_checkpointing: Option<bool>,
    /// Start from trained weights: a tag on the Hugging Face Hub (`mish models NAME` lists them),
    /// hf://owner/name[@revision][/file], a file, embedded (weights that this program contains), or
    /// without a value the network's default weights on the Hub
    #[arg(long, value_name = "TAG", help_heading = NETWORK, num_args = 0..=1,
          default_missing_value = "")]
    pub(super) pretrained: Option<String>,
    /// State dict to load if a PyTorch file holds several, as a dotted path such as state.model
    /// [default: chosen, with a warning that lists the others]
    #[arg(long, value_name = "KEY", help_heading = NETWORK, requires = "pretrained")]
    pub(super) state_dict_key: Option<String>,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
    #[command(flatten)]
    pub(super) recipe: RecipeArgs,
}

/// Flags of `mish train` and of `train-<family>`.
#[derive(Debug, clap::Args)]
// Scripts append flags, so the last value of a repeated flag counts.
#[command(args_override_self = true, allow_negative_numbers = true)]
pub struct TrainArgs {
    #[command(flatten)]
    pub(super) setup: SetupArgs,
    /// Run folder [default: runs/<model>-<activation>-<number>]
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    pub(super) output: Option<PathBuf>,
    /// Continue the run in this folder exactly where it stopped
    #[arg(long, value_name = "DIR", help_heading = OUTPUT,
          conflicts_with_all = ["output", "recipe", "pretrained"])]
    pub(super) resume: Option<PathBuf>,
    /// Print the complete configuration and do not train
    #[arg(long, help_heading = OUTPUT)]
    pub(super) dry_run: bool,
    /// Size of gradient buckets, which are summed over the ranks during the backward pass, in MiB
    /// [default: 25]
    #[arg(long, value_name = "MB", help_heading = "Several ranks (mpirun)",
          value_parser = number::<f64>(positive(4096.0)))]
    pub(super) bucket_cap_mb: Option<f64>,
    #[command(flatten)]
    pub(super) observers: ObserverArgs,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

impl SetupArgs {
    /// The options of the network from the flags, without its name.
    pub(super) fn network(&self) -> ModelArgs {
        ModelArgs {
            model: None,
            activation: self.activation,
            layer_activations: None,
            num_classes: self.num_classes,
            stem: self.stem,
            in_chans: self.form.in_chans,
            img_size: None,
            gate: self.form.gate,
            shortcut: self.form.shortcut,
            bn_momentum: self.bn_momentum,
            bn_eps: self.form.bn_eps,
            cfg: None,
            drop_rate: self.drop,
            drop_path_rate: self.drop_path,
        }
    }
}
