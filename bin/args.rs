//! Groups of flags that commands share. Names are timm's where timm has them.

use std::path::PathBuf;
use std::str::FromStr;

use candle_mish::activation::Activation;
use candle_mish::data::{DataError, DataOptions, DatasetKind, Interpolation, PadMode, Preprocess};
use candle_mish::train::{ClipMode, LossKind, OptimizerKind, Recipe, ScheduleKind};
use clap::Args;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::device::DeviceChoice;
use crate::failure::usage;
use crate::network::{Architecture, Weights};

/// Apart from a command's own flags in its help.
const GLOBAL: &str = "Options of every command";

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Print the answer as JSON on stdout
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Log more to stderr: -v information, -vv details (RUST_LOG overrides it)
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Append the log to this file
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Threads to compute with [default: all cores]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Compute on cpu, cuda, cuda:N, metal, or auto: a GPU where this program can use one
    #[arg(long, global = true, help_heading = GLOBAL, default_value_t)]
    pub device: DeviceChoice,
}

/// What of a network's form can be chosen beside its name, its activation and its first layers.
#[derive(Debug, Clone, Default, Args)]
pub struct FormArgs {
    /// Channels of the images: 3, or 1 for grey; weights for 3 are adapted to others [default: what
    /// the weights say, or 3]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub in_chans: Option<usize>,
    /// The activation of gates, as in squeeze-and-excitation [default: what the weights say, or that
    /// of the paper]
    #[arg(long, value_name = "NAME")]
    pub gate: Option<Activation>,
}

impl FormArgs {
    /// Puts what was given or what the weights say into `architecture`.
    pub fn apply(&self, architecture: &mut Architecture, weights: &Weights) -> anyhow::Result<()> {
        set(
            &mut architecture.in_chans,
            self.in_chans.or(weights.in_chans()?),
        );
        architecture.gate = self.gate.or(weights.gate()?);
        Ok(())
    }
}

/// Which images.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// auto, cifar100, cifar10, synthetic, or folder:PATH for images in PATH/train/CLASS and
    /// PATH/val/CLASS, or in PATH/CLASS; auto is CIFAR-100 if it can be had, else synthetic
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<DatasetArg>,
    /// The folder with the data set's files [default for CIFAR-100: the variable CIFAR100_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The data set's branch, tag or commit on the Hugging Face Hub
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Where decoded images are kept
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Use no network
    #[arg(long)]
    pub offline: bool,
    /// Seeds the validation split and the synthetic images, apart from the run's seed [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub data_seed: Option<u64>,
    /// The share of the training images held back for choosing the best epoch [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub val_split: Option<f64>,
    /// Take only the first N training images
    #[arg(long, value_name = "N", value_parser = positive)]
    pub limit_train: Option<usize>,
    /// Take only the first N test images
    #[arg(long, value_name = "N", value_parser = positive)]
    pub limit_test: Option<usize>,
}

impl DataArgs {
    /// Puts what was given in place of what `options` hold.
    pub fn apply(&self, options: &mut DataOptions) {
        if let Some(DatasetArg { kind, folder }) = &self.dataset {
            options.dataset = *kind;
            options.data_dir = folder.clone().or(options.data_dir.take());
        }
        set(&mut options.seed, self.data_seed);
        set(&mut options.val_split, self.val_split);
        options.offline |= self.offline;
        let replace = |old: &mut Option<PathBuf>, new: &Option<PathBuf>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        replace(&mut options.data_dir, &self.data_dir);
        replace(&mut options.cache_dir, &self.cache_dir);
        if self.revision.is_some() {
            options.revision.clone_from(&self.revision);
        }
        options.limit_train = self.limit_train.or(options.limit_train);
        options.limit_test = self.limit_test.or(options.limit_test);
    }
}

/// The value of `--dataset`: a name, or `folder:` and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetArg {
    /// The data set.
    pub kind: DatasetKind,
    /// Where it lies, if the value says so.
    pub folder: Option<PathBuf>,
}

impl FromStr for DatasetArg {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let folder = text.strip_prefix("folder:").map(PathBuf::from);
        Ok(Self {
            kind: text.parse()?,
            folder: folder.filter(|folder| !folder.as_os_str().is_empty()),
        })
    }
}

/// How pictures become a network's input.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Preprocessing")]
pub struct PreprocessArgs {
    /// Height and width of the network's images, for pictures of any size [default: what the
    /// weights say, or the network's own]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub img_size: Option<usize>,
    /// The share of a picture's shorter side that is kept [default: what the weights say, or 0.875]
    #[arg(long, value_name = "SHARE")]
    pub crop_pct: Option<f64>,
    /// bilinear or bicubic, as Pillow scales [default: what the weights say, or bicubic]
    #[arg(long, value_name = "NAME")]
    pub interpolation: Option<Interpolation>,
    /// Mean of each channel [default: what the weights say, or that of the data]
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3)]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel [default: what the weights say, or that of the data]
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3)]
    pub std: Option<Vec<f32>>,
}

impl PreprocessArgs {
    /// Puts what was given in place of what `preprocess` holds.
    pub fn apply(&self, preprocess: &mut Preprocess) -> anyhow::Result<()> {
        set(&mut preprocess.input_size, self.img_size);
        set(&mut preprocess.crop_pct, self.crop_pct);
        set(&mut preprocess.interpolation, self.interpolation);
        let channels = |values: &Option<Vec<f32>>| values.as_deref()?.try_into().ok();
        set(&mut preprocess.mean, channels(&self.mean));
        set(&mut preprocess.std, channels(&self.std));
        preprocess.check().map_err(usage)
    }
}

/// The hyperparameters; what is not given comes from `--recipe` or the default recipe.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Recipe")]
pub struct RecipeArgs {
    /// A TOML file with hyperparameters, under the names of these flags with underscores
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Passes over the training set [default: 10]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Images per step [default: 128]
    #[arg(long, short, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Seeds initial weights, order, augmentation and dropout [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// sgd (Nesterov), momentum, adam, adamw or rmsprop [default: sgd]
    #[arg(long, value_name = "NAME")]
    pub opt: Option<OptimizerKind>,
    /// The (highest) learning rate [default: 0.3, or a fifteenth of that with --pretrained unless
    /// the backbone is frozen; some networks have their own]
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// Momentum of SGD and RMSprop [default: 0.9]
    #[arg(long, value_name = "M")]
    pub momentum: Option<f64>,
    /// Weight decay, not on norms and biases [default: 0.0005]
    #[arg(long, value_name = "W")]
    pub weight_decay: Option<f64>,
    /// Adam's decays of its running means [default: 0.9 0.999]
    #[arg(long, value_names = ["BETA1", "BETA2"], num_args = 2)]
    pub opt_betas: Option<Vec<f64>>,
    /// What Adam and RMSprop add to the denominator [default: 1e-8]
    #[arg(long, value_name = "EPS")]
    pub opt_eps: Option<f64>,
    /// RMSprop's decay of the running mean of squares [default: 0.99]
    #[arg(long, value_name = "ALPHA")]
    pub opt_alpha: Option<f64>,
    /// onecycle, cosine, step, multistep or constant [default: onecycle]
    #[arg(long, value_name = "NAME")]
    pub sched: Option<ScheduleKind>,
    /// Epochs of linear warm-up, not for onecycle [default: 0]
    #[arg(long, value_name = "N")]
    pub warmup_epochs: Option<f64>,
    /// The rate that the warm-up begins with [default: 1e-5]
    #[arg(long, value_name = "RATE")]
    pub warmup_lr: Option<f64>,
    /// The rate at which a cosine ends [default: 0]
    #[arg(long, value_name = "RATE")]
    pub min_lr: Option<f64>,
    /// onecycle: the share of steps with a rising rate [default: 0.25]
    #[arg(long, value_name = "SHARE")]
    pub pct_start: Option<f64>,
    /// onecycle: the first rate is --lr divided by this [default: 25]
    #[arg(long, value_name = "F")]
    pub div_factor: Option<f64>,
    /// onecycle: the last rate is the first divided by this [default: 10000]
    #[arg(long, value_name = "F")]
    pub final_div_factor: Option<f64>,
    /// step: epochs between two decays [default: 30]
    #[arg(long, value_name = "N")]
    pub decay_epochs: Option<f64>,
    /// multistep: epochs at which the rate decays
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub decay_milestones: Option<Vec<f64>>,
    /// step and multistep: the factor of a decay [default: 0.1]
    #[arg(long, value_name = "F")]
    pub decay_rate: Option<f64>,
    /// cross_entropy or margin [default: cross_entropy, margin for capsules]
    #[arg(long, value_name = "NAME")]
    pub loss: Option<LossKind>,
    /// Label smoothing [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub smoothing: Option<f64>,
    /// Bound of gradient clipping [default: no clipping]
    #[arg(long, value_name = "BOUND")]
    pub clip_grad: Option<f64>,
    /// What --clip-grad bounds: norm or value [default: norm]
    #[arg(long, value_name = "MODE")]
    pub clip_mode: Option<ClipMode>,
    /// Pixels of padding for random crops, 0 for none [default: 4]
    #[arg(long, value_name = "N")]
    pub crop_padding: Option<usize>,
    /// What the padding holds: reflect, zero or edge [default: reflect]
    #[arg(long, value_name = "MODE", value_parser = pad_mode)]
    pub crop_pad_mode: Option<PadMode>,
    /// The probability of mirroring a training image [default: 0.5]
    #[arg(long, value_name = "P")]
    pub hflip: Option<f64>,
    /// Folders of images: shares of a picture's area in a random crop [default: 0.08 1]
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2)]
    pub scale: Option<Vec<f64>>,
    /// Folders of images: widths of a random crop, in heights [default: 0.75 1.333]
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2)]
    pub ratio: Option<Vec<f64>>,
    /// Fine-tuning: a layer's learning rate is that of the next one times this [default: 1]
    #[arg(long, value_name = "F")]
    pub layer_decay: Option<f64>,
    /// Fine-tuning: train only the classifier
    #[arg(long)]
    pub freeze_backbone: bool,
    /// Fine-tuning: epochs at the beginning that train only the classifier [default: 0]
    #[arg(long, value_name = "N")]
    pub head_warmup_epochs: Option<f64>,
}

impl RecipeArgs {
    /// Puts what was given in place of what `recipe` holds.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.opt, self.opt);
        set(&mut recipe.lr, self.lr);
        set(&mut recipe.momentum, self.momentum);
        set(&mut recipe.weight_decay, self.weight_decay);
        let pair = |values: &Option<Vec<f64>>| values.as_deref()?.try_into().ok();
        set(&mut recipe.opt_betas, pair(&self.opt_betas));
        set(&mut recipe.opt_eps, self.opt_eps);
        set(&mut recipe.opt_alpha, self.opt_alpha);
        set(&mut recipe.sched, self.sched);
        set(&mut recipe.warmup_epochs, self.warmup_epochs);
        set(&mut recipe.warmup_lr, self.warmup_lr);
        set(&mut recipe.min_lr, self.min_lr);
        set(&mut recipe.pct_start, self.pct_start);
        set(&mut recipe.div_factor, self.div_factor);
        set(&mut recipe.final_div_factor, self.final_div_factor);
        set(&mut recipe.decay_epochs, self.decay_epochs);
        set(&mut recipe.decay_milestones, self.decay_milestones.clone());
        set(&mut recipe.decay_rate, self.decay_rate);
        set(&mut recipe.loss, self.loss);
        set(&mut recipe.smoothing, self.smoothing);
        recipe.clip_grad = self.clip_grad.or(recipe.clip_grad);
        set(&mut recipe.clip_mode, self.clip_mode);
        set(&mut recipe.crop_padding, self.crop_padding);
        set(&mut recipe.crop_pad_mode, self.crop_pad_mode);
        set(&mut recipe.hflip, self.hflip);
        set(&mut recipe.scale, pair(&self.scale));
        set(&mut recipe.ratio, pair(&self.ratio));
        recipe.layer_decay = self.layer_decay.or(recipe.layer_decay);
        recipe.freeze_backbone |= self.freeze_backbone;
        set(&mut recipe.head_warmup_epochs, self.head_warmup_epochs);
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *field = value;
    }
}

/// Parses a count of at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be 1 or more".to_string()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

fn pad_mode(text: &str) -> Result<PadMode, String> {
    let text: StrDeserializer<'_, ValueError> = StrDeserializer::new(text);
    PadMode::deserialize(text).map_err(|e| e.to_string())
}
