//! From the fields of a recipe to the schedule, the loss, clipping and the augmentation.

use candle_core::Tensor;

use super::fields::Recipe;
use super::kinds::{ClipMode, LossKind, ScheduleKind};
use crate::data::{Augmentation, ResizedCrop};
use crate::ops::{CrossEntropy, Margin, Target, cross_entropy, margin_loss};
use crate::train::optimizer::Clip;
use crate::train::schedule::{Schedule, Warmup};

impl Recipe {
    /// Whether the recipe treats parts of the network differently, so that a run needs
    /// [`Parts`](crate::train::Parts).
    pub fn tells_parts_apart(&self) -> bool {
        self.layer_decay.is_some()
            || self.freeze_backbone
            || self.head_warmup_epochs > 0.0
            || self.clip_mode == ClipMode::Agc
    }

    /// The number of updates that `batches` batches from the start of an epoch make.
    pub fn updates(&self, batches: usize) -> usize {
        batches.div_ceil(self.grad_accum_steps.max(1))
    }

    /// The schedule of a run with `steps_per_epoch` steps in each epoch.
    pub fn schedule(&self, steps_per_epoch: usize) -> Schedule {
        self.schedule_over(self.epochs.saturating_mul(steps_per_epoch) as u64)
    }

    /// The schedule of a run of `total_steps`. Durations in epochs take the same fraction of it as
    /// of [`epochs`](Self::epochs).
    pub fn schedule_over(&self, total_steps: u64) -> Schedule {
        let epoch = total_steps as f64 / self.epochs as f64;
        let steps = |epochs: f64| (epochs * epoch).round() as u64;
        let warmup = Warmup {
            lr: self.warmup_lr,
            steps: steps(self.warmup_epochs),
        };
        match self.sched {
            ScheduleKind::OneCycle => Schedule::OneCycle {
                max_lr: self.lr,
                pct_start: self.pct_start,
                div_factor: self.div_factor,
                final_div_factor: self.final_div_factor,
                total_steps,
            },
            ScheduleKind::Cosine => Schedule::Cosine {
                lr: self.lr,
                min_lr: self.min_lr,
                warmup,
                total_steps,
            },
            ScheduleKind::Step => Schedule::Step {
                lr: self.lr,
                gamma: self.decay_rate,
                epochs: self.decay_epochs,
                steps_per_epoch: epoch,
                decays: (self.epochs as f64 / self.decay_epochs).floor() as u64,
                warmup,
            },
            ScheduleKind::MultiStep => Schedule::MultiStep {
                lr: self.lr,
                gamma: self.decay_rate,
                milestones: self.decay_milestones.iter().map(|e| steps(*e)).collect(),
                warmup,
            },
            ScheduleKind::Constant => Schedule::Constant {
                lr: self.lr,
                warmup,
            },
        }
    }

    /// The mean loss of logits `[N, K]` for `target`, a scalar.
    ///
    /// # Errors
    /// If the shapes differ, a label is not below K, or the margin loss is to take probabilities.
    pub fn loss_of(&self, logits: &Tensor, target: &Target) -> candle_core::Result<Tensor> {
        match (self.loss, target) {
            (LossKind::CrossEntropy, target) => {
                let options = CrossEntropy {
                    label_smoothing: self.smoothing,
                    ..CrossEntropy::default()
                };
                cross_entropy(logits, target, &options)
            }
            (LossKind::Margin, Target::Classes(labels)) => {
                margin_loss(logits, labels, &Margin::default())
            }
            (LossKind::Margin, Target::Probabilities(_)) => {
                candle_core::bail!(
                    "the margin loss takes classes, not the mixed labels of mixup or cutmix"
                )
            }
        }
    }

    /// The random changes to training images.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            crop_padding: self.crop_padding,
            pad_mode: self.crop_pad_mode,
            hflip: self.hflip,
            resized_crop: Some(self.resized_crop()),
        }
    }

    pub(super) fn resized_crop(&self) -> ResizedCrop {
        ResizedCrop {
            scale: self.scale,
            ratio: self.ratio,
        }
    }

    /// Gradient clipping, if the recipe asks for it.
    pub fn clip(&self) -> Option<Clip> {
        self.clip_grad.map(|bound| match self.clip_mode {
            ClipMode::Norm => Clip::Norm(bound),
            ClipMode::Value => Clip::Value(bound),
            ClipMode::Agc => Clip::Adaptive(bound),
        })
    }
}
