//! The fields of a recipe and their defaults.

use serde::{Deserialize, Serialize};

use super::kinds::{
    AdjustLr, AmpDtype, ClipMode, DistBn, EvalMetric, LossKind, MuonFallback, NsCoefficients,
    OptimizerKind, OptimizerName, SchedOn, ScheduleKind,
};
use crate::data::{
    AutoAugment, ColorJitter, EraseMode, FlipMode, ImageSizes, MixupMode, PadMode, ResizedCrop,
};
use crate::nn::Initialiser;

/// Every hyperparameter of a training run.
///
/// The default trains a CIFAR ResNet in 10 epochs: SGD with Nesterov momentum, a one-cycle schedule
/// with a peak rate of 0.3, weight decay on weights only, reflect-padded crops and flips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images per batch.
    pub batch_size: usize,
    /// Batches per update of the weights. The update has the mean of their gradients; the last one
    /// of an epoch may have fewer batches.
    pub grad_accum_steps: usize,
    /// Seeds everything random: initial weights, order, augmentation, dropout.
    pub seed: u64,
    /// Mixed precision of the training steps. Default: everything in f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amp: Option<AmpDtype>,
    /// The optimizer.
    pub opt: OptimizerName,
    /// The learning rate; the highest one if the schedule varies it.
    pub lr: f64,
    /// Momentum of SGD, RMSprop and Muon.
    pub momentum: f64,
    /// Weight decay. Norms and biases have none. Optimizers whose name ends in `w`, Lion and Muon
    /// multiply the weight by `1 - lr * weight_decay` (decoupled); the others add
    /// `weight_decay * w` to the gradient, LAMB to its direction.
    pub weight_decay: f64,
    /// Adds `l1_penalty` times the sign of the weight to the gradient after clipping, except for
    /// norms and biases.
    pub l1_penalty: f64,
    /// Adds `l2_penalty * w` to the gradient after clipping, except for norms and biases. Unlike
    /// `weight_decay`, also with decoupled weight decay.
    pub l2_penalty: f64,
    /// Decay rates of the running means of the Adam family, LAMB, Lion and Muon's AdamW. Default:
    /// 0.9 and 0.999; 0.99 for the second of Lion, 0.95 for Muon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_betas: Option<[f64; 2]>,
    /// Added to the denominator; in Muon, the least norm as well. SGD and Lion have none. Default:
    /// 1e-8; 1e-6 for Adadelta and LAMB, 1e-7 for Muon, 1e-10 for RMSprop as in TensorFlow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_eps: Option<f64>,
    /// Decay rate of the running mean of squares of RMSprop (`alpha`) and Adadelta (`rho`).
    /// Default: 0.99 for `rmsprop`, 0.9 for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_alpha: Option<f64>,
    /// Muon: the optimizer of vectors, depthwise convolutions and very thin matrices. Default:
    /// AdamW.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muon_fallback: Option<MuonFallback>,
    /// Muon: multiplies the learning rate of `muon_fallback`. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_lr_scale: Option<f64>,
    /// Muon: the momentum of `muon_fallback` if that is SGD. Default: `momentum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_momentum: Option<f64>,
    /// Muon: names of matrices and convolutions that `muon_fallback` updates too, with `*` and `?`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback_list: Vec<String>,
    /// Muon: scales each matrix to the norm `sqrt(rows)` before its update.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub normalize_weights: bool,
    /// Muon: the coefficients of the Newton-Schulz iteration. Default: `quintic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_coefficients: Option<NsCoefficients>,
    /// Muon: the number of Newton-Schulz iterations. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_steps: Option<usize>,
    /// Muon: how the learning rate depends on the shape. Default: `match_rms_adamw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjust_lr_fn: Option<AdjustLr>,
    /// The schedule.
    pub sched: ScheduleKind,
    /// Whether the rate changes with each update or with each epoch.
    pub sched_on: SchedOn,
    /// Epochs of linear warm-up. The one-cycle schedule has none and does not read it.
    pub warmup_epochs: f64,
    /// The learning rate at the start of the warm-up.
    pub warmup_lr: f64,
    /// Whether the schedule starts after the warm-up; if not, the warm-up replaces its first part.
    /// Default: true for cosine, tanh and poly, whose curve then spans the rest of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_prefix: Option<bool>,
    /// Cosine, tanh, poly: epochs with `min_lr` at the end. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_epochs: Option<f64>,
    /// Cosine, tanh, poly: the learning rate at the end. Plateau: the lowest one.
    pub min_lr: f64,
    /// Cosine, tanh, poly: the number of cycles in the run. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_cycle_limit: Option<usize>,
    /// The length of a cycle relative to the one before it. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_cycle_mul: Option<f64>,
    /// The highest rate of a cycle relative to the one before it. Default: 0.5, as in timm's `train.py`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_cycle_decay: Option<f64>,
    /// Cosine, poly: above 1, the rate stays high for longer (k-decay). Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_k_decay: Option<f64>,
    /// Poly: the power. Default: 0.5, as in timm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poly_power: Option<f64>,
    /// Tanh: the argument of the tangent at the start of a cycle. Default: -7, as in timm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tanh_lb: Option<f64>,
    /// Tanh: the argument of the tangent at the end of a cycle. Default: 3, as in timm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tanh_ub: Option<f64>,
    /// One-cycle: the fraction of the steps with a rising rate.
    pub pct_start: f64,
    /// One-cycle: the first rate is `lr` divided by this.
    pub div_factor: f64,
    /// One-cycle: the last rate is the first divided by this.
    pub final_div_factor: f64,
    /// One-cycle: moves the momentum, or the first beta, against the rate.
    pub cycle_momentum: bool,
    /// The momentum at the highest rate. Default: 0.85.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_momentum: Option<f64>,
    /// The momentum at the start and at the end. Default: 0.95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_momentum: Option<f64>,
    /// Step: epochs between two decays. Exponential: epochs in which the rate decays by
    /// `decay_rate`.
    pub decay_epochs: f64,
    /// Multi-step: the epochs at which the rate decays, ascending.
    pub decay_milestones: Vec<f64>,
    /// Step, multi-step, exponential and plateau: the factor of a decay.
    pub decay_rate: f64,
    /// Plateau: epochs without improvement that are tolerated before a decay. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience_epochs: Option<usize>,
    /// The figure of the evaluation that chooses the best epoch and controls plateau and early
    /// stopping.
    pub eval_metric: EvalMetric,
    /// Stops the run after this number of epochs without improvement. `None` never stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop_patience: Option<usize>,
    /// The least improvement for early stopping. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop_min_delta: Option<f64>,
    /// The loss.
    pub loss: LossKind,
    /// Label smoothing of the cross-entropy.
    pub smoothing: f64,
    /// The bound of gradient clipping. `None` clips nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_grad: Option<f64>,
    /// What `clip_grad` bounds. `agc` needs a bound; 0.01 is usual.
    pub clip_mode: ClipMode,
    /// Pixels of padding for random crops; 0 does not crop.
    pub crop_padding: usize,
    /// The content of the padding.
    pub crop_pad_mode: PadMode,
    /// The probability of mirroring an image left and right.
    pub hflip: f64,
    /// Image folders: the smallest and largest fraction of the image's area in a random crop.
    pub scale: [f64; 2],
    /// Image folders: the smallest and largest ratio of width to height of a random crop.
    pub ratio: [f64; 2],
    /// How the images to mirror are chosen. `alternating` needs an `hflip` of 0.5.
    pub flip_mode: FlipMode,
    /// Repeated augmentation: how often an image occurs in a row, augmented differently. 0 and 1 mean
    /// once. An epoch keeps its number of images, so it uses only a part of the set.
    pub aug_repeats: usize,
    /// The size of the training images by epoch. `None` keeps the full size. `0:20,4:28,8:32` is 20
    /// pixels in the first four epochs, 28 in the next four, then 32. Evaluations use the full size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_img_sizes: Option<ImageSizes>,
    /// Mixup: both parameters of the Beta distribution. 0 turns mixup off.
    pub mixup: f64,
    /// CutMix: both parameters of the Beta distribution. 0 turns CutMix off, unless `cutmix_minmax` is
    /// set.
    pub cutmix: f64,
    /// CutMix: the smallest and largest height and width of the rectangle, as fractions of the image's.
    /// Replaces the Beta distribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix_minmax: Option<[f64; 2]>,
    /// Mixup and CutMix: the probability of a mix. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup_prob: Option<f64>,
    /// Mixup and CutMix: the probability of CutMix if both are on. Default: 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup_switch_prob: Option<f64>,
    /// Mixup and CutMix: the images that share a draw. Default: `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup_mode: Option<MixupMode>,
    /// Mixup and CutMix: the number of epochs after which mixing stops. `None` mixes to the end of the
    /// run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup_off_epoch: Option<usize>,
    /// Random erasing: the probability that an image is erased.
    pub reprob: f64,
    /// Random erasing: the new values. Default: `pixel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remode: Option<EraseMode>,
    /// Random erasing: the largest number of rectangles in an image. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recount: Option<usize>,
    /// Cutout: the side of the square to set to 0, in pixels of the full-size image; 0 for none.
    pub cutout: usize,
    /// The standard deviation of Gaussian noise on normalised training images; 0 for none. Evaluation
    /// has no noise.
    pub input_noise: f64,
    /// The probability of exchanging top and bottom.
    pub vflip: f64,
    /// The largest rotation in degrees, in either direction.
    pub degrees: f64,
    /// A policy of automatic augmentation, such as `rand-m9-mstd0.5-inc1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aa: Option<AutoAugment>,
    /// Random brightness, contrast, saturation and hue. With `aa`, as in timm, only for 3-Augment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// The probability of `color_jitter`. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter_prob: Option<f64>,
    /// The probability of making an image grey.
    pub grayscale_prob: f64,
    /// The probability of a Gaussian blur.
    pub gaussian_blur_prob: f64,
    /// Multiplies the learning rate from each layer to the one before it. The head has `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// Keeps an exponential moving average of the weights (timm's `ModelEmaV3`).
    pub model_ema: bool,
    /// The decay of `model_ema` in each step. Default: 0.9998.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_ema_decay: Option<f64>,
    /// Raises the decay of `model_ema` from 0: in update t it is at most 1 - t^(-2/3).
    pub model_ema_warmup: bool,
    /// Stochastic weight averaging: the first epoch, counted from 1, whose weights are averaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa_start: Option<usize>,
    /// SWA: from `swa_start` on, the learning rate anneals from the schedule's to this one. Default: the
    /// schedule's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa_lr: Option<f64>,
    /// SWA: epochs of the annealing to `swa_lr`. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa_anneal_epochs: Option<usize>,
    /// The distribution of the initial weights of all convolutions and linear layers. Biases then
    /// start at zero. Default: the network's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Initialiser>,
    /// Multiplies the standard deviation of `init`. Default: the gain of the activation for the He
    /// family, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_gain: Option<f64>,
    /// The only network that the recipe is for. Training does not read this; whoever takes the recipe
    /// checks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs_model: Option<String>,
    /// The recipe is for trained weights. Training does not read this; whoever takes the recipe checks it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_pretrained: bool,
    /// Trains only the head, on the features of the trained backbone.
    pub freeze_backbone: bool,
    /// Epochs at the start of the run that train only the head.
    pub head_warmup_epochs: f64,
    /// Several ranks: batch norms take the statistics of the whole batch in training, not of the
    /// part of each rank.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sync_bn: bool,
    /// Several ranks: how the running statistics of batch norms become equal without `sync_bn`. Default:
    /// `reduce`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dist_bn: Option<DistBn>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 128,
            grad_accum_steps: 1,
            seed: 0,
            amp: None,
            opt: OptimizerKind::Sgd.into(),
            lr: 0.3,
            momentum: 0.9,
            weight_decay: 5e-4,
            l1_penalty: 0.0,
            l2_penalty: 0.0,
            opt_betas: None,
            opt_eps: None,
            opt_alpha: None,
            muon_fallback: None,
            fallback_lr_scale: None,
            fallback_momentum: None,
            fallback_list: Vec::new(),
            normalize_weights: false,
            ns_coefficients: None,
            ns_steps: None,
            adjust_lr_fn: None,
            sched: ScheduleKind::OneCycle,
            sched_on: SchedOn::Updates,
            warmup_epochs: 0.0,
            warmup_lr: 1e-5,
            warmup_prefix: None,
            cooldown_epochs: None,
            min_lr: 0.0,
            lr_cycle_limit: None,
            lr_cycle_mul: None,
            lr_cycle_decay: None,
            lr_k_decay: None,
            poly_power: None,
            tanh_lb: None,
            tanh_ub: None,
            pct_start: 0.25,
            div_factor: 25.0,
            final_div_factor: 1e4,
            cycle_momentum: false,
            base_momentum: None,
            max_momentum: None,
            decay_epochs: 30.0,
            decay_milestones: Vec::new(),
            decay_rate: 0.1,
            patience_epochs: None,
            eval_metric: EvalMetric::Top1,
            early_stop_patience: None,
            early_stop_min_delta: None,
            loss: LossKind::CrossEntropy,
            smoothing: 0.0,
            clip_grad: None,
            clip_mode: ClipMode::Norm,
            crop_padding: 4,
            crop_pad_mode: PadMode::Reflect,
            hflip: 0.5,
            scale: ResizedCrop::default().scale,
            ratio: ResizedCrop::default().ratio,
            flip_mode: FlipMode::Random,
            aug_repeats: 0,
            train_img_sizes: None,
            mixup: 0.0,
            cutmix: 0.0,
            cutmix_minmax: None,
            mixup_prob: None,
            mixup_switch_prob: None,
            mixup_mode: None,
            mixup_off_epoch: None,
            reprob: 0.0,
            remode: None,
            recount: None,
            cutout: 0,
            input_noise: 0.0,
            vflip: 0.0,
            degrees: 0.0,
            aa: None,
            color_jitter: None,
            color_jitter_prob: None,
            grayscale_prob: 0.0,
            gaussian_blur_prob: 0.0,
            layer_decay: None,
            model_ema: false,
            model_ema_decay: None,
            model_ema_warmup: false,
            swa_start: None,
            swa_lr: None,
            swa_anneal_epochs: None,
            init: None,
            init_gain: None,
            needs_model: None,
            needs_pretrained: false,
            freeze_backbone: false,
            head_warmup_epochs: 0.0,
            sync_bn: false,
            dist_bn: None,
        }
    }
}

impl Recipe {
    /// The learning rate for trained weights relative to random ones: 0.02 instead of 0.3. The full
    /// rate destroys trained weights within a few steps.
    const FINE_TUNING_RATE: f64 = 1.0 / 15.0;

    /// The same recipe with a learning rate for weights that are already trained.
    pub fn for_trained_weights(self) -> Self {
        Self {
            lr: Self::FINE_TUNING_RATE * self.lr,
            ..self
        }
    }
}
