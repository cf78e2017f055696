//! The fields of a recipe and their defaults.

use serde::{Deserialize, Serialize};

use super::kinds::{ClipMode, LossKind, OptimizerKind, ScheduleKind};
use crate::data::{PadMode, ResizedCrop};

/// Every hyperparameter of a training run.
///
/// The default trains a CIFAR ResNet in 10 epochs: SGD with Nesterov momentum, a one-cycle schedule
/// with a peak rate of 0.3, weight decay on weights only, reflect-padded crops and flips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Seeds everything random: initial weights, order, augmentation, dropout.
    pub seed: u64,
    /// The optimizer.
    pub opt: OptimizerKind,
    /// The learning rate; the highest one if the schedule varies it.
    pub lr: f64,
    /// Momentum of SGD and RMSprop.
    pub momentum: f64,
    /// Weight decay. Norms and biases have none.
    pub weight_decay: f64,
    /// Adam's decay rates of its running means.
    pub opt_betas: [f64; 2],
    /// Added to the denominator by Adam and RMSprop.
    pub opt_eps: f64,
    /// RMSprop's decay rate of the running mean of squares.
    pub opt_alpha: f64,
    /// The schedule.
    pub sched: ScheduleKind,
    /// Epochs of linear warm-up. The one-cycle schedule ignores it.
    pub warmup_epochs: f64,
    /// The learning rate at the start of the warm-up.
    pub warmup_lr: f64,
    /// Cosine: the learning rate at the end.
    pub min_lr: f64,
    /// One-cycle: the fraction of the steps with a rising rate.
    pub pct_start: f64,
    /// One-cycle: the first rate is `lr` divided by this.
    pub div_factor: f64,
    /// One-cycle: the last rate is the first divided by this.
    pub final_div_factor: f64,
    /// Step: epochs between two decays.
    pub decay_epochs: f64,
    /// Multi-step: the epochs at which the rate decays, ascending.
    pub decay_milestones: Vec<f64>,
    /// Step and multi-step: the factor of a decay.
    pub decay_rate: f64,
    /// The loss.
    pub loss: LossKind,
    /// Label smoothing of the cross-entropy.
    pub smoothing: f64,
    /// The bound of gradient clipping; none clips nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_grad: Option<f64>,
    /// What `clip_grad` bounds.
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
    /// Multiplies the learning rate from each layer to the one before it. The head has `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// Trains only the head, on the features of the trained backbone.
    pub freeze_backbone: bool,
    /// Epochs at the start of the run that train only the head.
    pub head_warmup_epochs: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 128,
            seed: 0,
            opt: OptimizerKind::Sgd,
            lr: 0.3,
            momentum: 0.9,
            weight_decay: 5e-4,
            opt_betas: [0.9, 0.999],
            opt_eps: 1e-8,
            opt_alpha: 0.99,
            sched: ScheduleKind::OneCycle,
            warmup_epochs: 0.0,
            warmup_lr: 1e-5,
            min_lr: 0.0,
            pct_start: 0.25,
            div_factor: 25.0,
            final_div_factor: 1e4,
            decay_epochs: 30.0,
            decay_milestones: Vec::new(),
            decay_rate: 0.1,
            loss: LossKind::CrossEntropy,
            smoothing: 0.0,
            clip_grad: None,
            clip_mode: ClipMode::Norm,
            crop_padding: 4,
            crop_pad_mode: PadMode::Reflect,
            hflip: 0.5,
            scale: ResizedCrop::default().scale,
            ratio: ResizedCrop::default().ratio,
            layer_decay: None,
            freeze_backbone: false,
            head_warmup_epochs: 0.0,
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
