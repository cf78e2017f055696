//! Flags for the hyperparameters.

use std::path::PathBuf;

use candle_mish::data::PadMode;
use candle_mish::train::{
    AdjustLr, ClipMode, LossKind, MuonFallback, NsCoefficients, OptimizerName, Recipe, ScheduleKind,
};
use clap::Args;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::range::{MAX_BATCH, MAX_EPOCHS, MAX_RATE, MAX_SIZE, count, number, positive, seed};
use super::set::{replace, set};

const OPTIMIZER: &str = "Optimizer";
const SCHEDULE: &str = "Learning rate schedule";
const LOSS: &str = "Loss";
const AUGMENTATION: &str = "Augmentation";
const FINE_TUNING: &str = "Fine-tuning";

/// Flags for the hyperparameters. `--recipe` or the network's recipe supplies the others.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Training")]
pub struct RecipeArgs {
    /// TOML file with hyperparameters. Keys are the names of the flags, with underscores
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Number of epochs: passes over the training images [default: 10]
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_EPOCHS as usize))]
    pub epochs: Option<usize>,
    /// Images per step [default: 128]
    #[arg(long, short, value_name = "N", value_parser = count(1..=MAX_BATCH))]
    pub batch_size: Option<usize>,
    /// Seed of initial weights, order, augmentation and dropout [default: 0]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,

    /// sgd, sgdw, momentum, adam, adamw, nadam, nadamw, radam, radamw, adamax, adagrad, adadelta,
    /// rmsprop, rmsproptf, rmsproptfw, lamb, lambc, lambw, lambcw, lion, muon or nmuon;
    /// lookahead_NAME adds Lookahead, as in lookahead_radam [default: sgd]
    #[arg(long, value_name = "NAME", help_heading = OPTIMIZER)]
    pub opt: Option<OptimizerName>,
    /// Peak learning rate [default: 0.3, or the network's own. --pretrained without
    /// --freeze-backbone divides it by 15]
    #[arg(long, value_name = "RATE", help_heading = OPTIMIZER,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub lr: Option<f64>,
    /// Momentum of sgd, momentum, rmsprop and muon [default: 0.9]
    #[arg(long, value_name = "M", help_heading = OPTIMIZER, value_parser = number::<f64>(0.0..1.0))]
    pub momentum: Option<f64>,
    /// Weight decay, except on norms and biases. Decoupled from the gradient for names that end in
    /// w, lion and muon [default: 0.0005]
    #[arg(long, value_name = "W", help_heading = OPTIMIZER,
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub weight_decay: Option<f64>,
    /// Factor of the sign of the weight in the gradient, except of norms and biases [default: 0]
    #[arg(long, value_name = "L", help_heading = OPTIMIZER,
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub l1_penalty: Option<f64>,
    /// Factor of the weight in the gradient, except of norms and biases. Unlike --weight-decay, never
    /// decoupled [default: 0]
    #[arg(long, value_name = "L", help_heading = OPTIMIZER,
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub l2_penalty: Option<f64>,
    /// Decay rates of running means in adam and its variants, lamb, lion and muon [default: 0.9
    /// 0.999; lion 0.9 0.99; muon 0.9 0.95]
    #[arg(long, value_names = ["BETA1", "BETA2"], num_args = 2, help_heading = OPTIMIZER,
          value_parser = number::<f64>(0.0..1.0))]
    pub opt_betas: Option<Vec<f64>>,
    /// Term added to the denominator, in all but sgd, momentum and lion [default: 1e-8; adadelta and
    /// lamb 1e-6; muon 1e-7; rmsproptf 1e-10]
    #[arg(long, value_name = "EPS", help_heading = OPTIMIZER,
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub opt_eps: Option<f64>,
    /// Decay rate of the running mean of squares in rmsprop and adadelta [default: rmsprop 0.99;
    /// rmsproptf and adadelta 0.9]
    #[arg(long, value_name = "ALPHA", help_heading = OPTIMIZER,
          value_parser = number::<f64>(0.0..1.0))]
    pub opt_alpha: Option<f64>,
    /// muon: optimizer of vectors, depthwise convolutions and thin matrices: adamw or sgd [default:
    /// adamw]
    #[arg(long, value_name = "NAME", help_heading = OPTIMIZER)]
    pub muon_fallback: Option<MuonFallback>,
    /// muon: factor of the learning rate of --muon-fallback [default: 1]
    #[arg(long, value_name = "F", help_heading = OPTIMIZER,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub fallback_lr_scale: Option<f64>,
    /// muon: coefficients of the Newton-Schulz iteration: quintic (timm's) or original (PyTorch's)
    /// [default: quintic]
    #[arg(long, value_name = "NAME", help_heading = OPTIMIZER)]
    pub ns_coefficients: Option<NsCoefficients>,
    /// muon: how the learning rate depends on the shape: match_rms_adamw (timm's), original
    /// (PyTorch's) or rms_to_rms [default: match_rms_adamw]
    #[arg(long, value_name = "NAME", help_heading = OPTIMIZER)]
    pub adjust_lr_fn: Option<AdjustLr>,
    /// Clip gradients to this limit [default: no clipping]
    #[arg(long, value_name = "LIMIT", help_heading = OPTIMIZER,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub clip_grad: Option<f64>,
    /// What --clip-grad limits: the joint norm, each value, or with agc the ratio of each unit's
    /// gradient to its weights, except in the classifier (usually 0.01) [default: norm]
    #[arg(long, value_name = "MODE", help_heading = OPTIMIZER)]
    pub clip_mode: Option<ClipMode>,

    /// onecycle, cosine, step, multistep or constant [default: onecycle]
    #[arg(long, value_name = "NAME", help_heading = SCHEDULE)]
    pub sched: Option<ScheduleKind>,
    /// Epochs of linear warm-up. onecycle ignores it [default: 0]
    #[arg(long, value_name = "N", help_heading = SCHEDULE,
          value_parser = number::<f64>(0.0..=MAX_EPOCHS))]
    pub warmup_epochs: Option<f64>,
    /// First rate of the warm-up [default: 1e-5]
    #[arg(long, value_name = "RATE", help_heading = SCHEDULE,
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub warmup_lr: Option<f64>,
    /// cosine: last rate [default: 0]
    #[arg(long, value_name = "RATE", help_heading = SCHEDULE,
          value_parser = number::<f64>(0.0..=MAX_RATE))]
    pub min_lr: Option<f64>,
    /// onecycle: share of steps with a rising rate [default: 0.25]
    #[arg(long, value_name = "SHARE", help_heading = SCHEDULE,
          value_parser = number::<f64>(0.0..=1.0))]
    pub pct_start: Option<f64>,
    /// onecycle: --lr divided by the first rate [default: 25]
    #[arg(long, value_name = "F", help_heading = SCHEDULE,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub div_factor: Option<f64>,
    /// onecycle: first rate divided by the last rate [default: 10000]
    #[arg(long, value_name = "F", help_heading = SCHEDULE,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub final_div_factor: Option<f64>,
    /// step: epochs between decays [default: 30]
    #[arg(long, value_name = "N", help_heading = SCHEDULE,
          value_parser = number::<f64>(MIN_DECAY_EPOCHS..=MAX_EPOCHS))]
    pub decay_epochs: Option<f64>,
    /// multistep: epochs after which the rate decays, separated by commas
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', help_heading = SCHEDULE,
          value_parser = number::<f64>(0.0..=MAX_EPOCHS))]
    pub decay_milestones: Option<Vec<f64>>,
    /// step and multistep: factor of a decay [default: 0.1]
    #[arg(long, value_name = "F", help_heading = SCHEDULE,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub decay_rate: Option<f64>,

    /// cross_entropy or margin [default: cross_entropy, or margin for capsnet]
    #[arg(long, value_name = "NAME", help_heading = LOSS)]
    pub loss: Option<LossKind>,
    /// Label smoothing of cross_entropy [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = LOSS, value_parser = number::<f64>(0.0..1.0))]
    pub smoothing: Option<f64>,

    /// Pixels of padding for random crops, or 0 for no crops [default: 4]
    #[arg(long, value_name = "PIXELS", help_heading = AUGMENTATION,
          value_parser = count(0..=MAX_SIZE))]
    pub crop_padding: Option<usize>,
    /// Content of the padding: reflect, zero or edge [default: reflect]
    #[arg(long, value_name = "MODE", help_heading = AUGMENTATION, value_parser = pad_mode)]
    pub crop_pad_mode: Option<PadMode>,
    /// Probability of a horizontal flip [default: 0.5]
    #[arg(long, value_name = "P", help_heading = AUGMENTATION,
          value_parser = number::<f64>(0.0..=1.0))]
    pub hflip: Option<f64>,
    /// folder: range of the area of random crops, as a share of the image [default: 0.08 1]
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2, help_heading = AUGMENTATION,
          value_parser = number::<f64>(positive(1.0)))]
    pub scale: Option<Vec<f64>>,
    /// folder: range of the aspect ratio (width / height) of random crops [default: 0.75 1.333]
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2, help_heading = AUGMENTATION,
          value_parser = number::<f64>(positive(MAX_RATE)))]
    pub ratio: Option<Vec<f64>>,

    /// Layer-wise decay: learning rate of a layer divided by the next layer's, toward the
    /// classifier [default: 1]
    #[arg(long, value_name = "F", help_heading = FINE_TUNING,
          value_parser = number::<f64>(positive(1.0)))]
    pub layer_decay: Option<f64>,
    /// Train only the classifier
    #[arg(long, help_heading = FINE_TUNING)]
    pub freeze_backbone: bool,
    /// Epochs at the start that train only the classifier [default: 0]
    #[arg(long, value_name = "N", help_heading = FINE_TUNING,
          value_parser = number::<f64>(0.0..=MAX_EPOCHS))]
    pub head_warmup_epochs: Option<f64>,
}

/// Limit of `--decay-epochs`. A shorter interval is less than a step on most data sets.
const MIN_DECAY_EPOCHS: f64 = 1e-3;

impl RecipeArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.seed, self.seed);
        set(&mut recipe.opt, self.opt);
        set(&mut recipe.lr, self.lr);
        set(&mut recipe.momentum, self.momentum);
        set(&mut recipe.weight_decay, self.weight_decay);
        let pair = |values: &Option<Vec<f64>>| values.as_deref()?.try_into().ok();
        replace(&mut recipe.opt_betas, &pair(&self.opt_betas));
        replace(&mut recipe.opt_eps, &self.opt_eps);
        replace(&mut recipe.opt_alpha, &self.opt_alpha);
        set(&mut recipe.l1_penalty, self.l1_penalty);
        set(&mut recipe.l2_penalty, self.l2_penalty);
        replace(&mut recipe.muon_fallback, &self.muon_fallback);
        replace(&mut recipe.fallback_lr_scale, &self.fallback_lr_scale);
        replace(&mut recipe.ns_coefficients, &self.ns_coefficients);
        replace(&mut recipe.adjust_lr_fn, &self.adjust_lr_fn);
        replace(&mut recipe.clip_grad, &self.clip_grad);
        set(&mut recipe.clip_mode, self.clip_mode);
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
        set(&mut recipe.crop_padding, self.crop_padding);
        set(&mut recipe.crop_pad_mode, self.crop_pad_mode);
        set(&mut recipe.hflip, self.hflip);
        set(&mut recipe.scale, pair(&self.scale));
        set(&mut recipe.ratio, pair(&self.ratio));
        replace(&mut recipe.layer_decay, &self.layer_decay);
        recipe.freeze_backbone |= self.freeze_backbone;
        set(&mut recipe.head_warmup_epochs, self.head_warmup_epochs);
    }
}

fn pad_mode(text: &str) -> Result<PadMode, String> {
    let text: StrDeserializer<'_, ValueError> = StrDeserializer::new(text);
    PadMode::deserialize(text).map_err(|e| e.to_string())
}
