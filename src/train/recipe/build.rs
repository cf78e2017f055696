//! From the fields of a recipe to the loss, clipping and the augmentation.

use candle_core::Tensor;

use super::fields::Recipe;
use super::kinds::{AmpDtype, ClipMode, LossKind};
use crate::data::{Augmentation, PixelAugmentation, ResizedCrop};
use crate::ops::{CrossEntropy, Fp32Precision, Margin, Target, cross_entropy, margin_loss};
use crate::train::optimizer::Clip;

impl Recipe {
    /// Whether the recipe treats parts of the network differently, so that a run needs
    /// [`Parts`](crate::train::Parts).
    pub fn tells_parts_apart(&self) -> bool {
        self.layer_decay.is_some()
            || self.freeze_backbone
            || self.head_warmup_epochs > 0.0
            || self.clip_mode == ClipMode::Agc
    }

    /// How convolutions multiply in training.
    pub fn fp32_precision(&self) -> Fp32Precision {
        match self.amp {
            None => Fp32Precision::Ieee,
            Some(AmpDtype::Bf16) => Fp32Precision::Bf16,
        }
    }

    /// The number of updates that `batches` batches from the start of an epoch make.
    pub fn updates(&self, batches: usize) -> usize {
        batches.div_ceil(self.grad_accum_steps.max(1))
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
            flip_mode: self.flip_mode,
            resized_crop: Some(self.resized_crop()),
            erasing: self.erasing(),
            cutout: self.cutout,
            input_noise: self.input_noise,
            pixels: self.pixel_augmentation(),
        }
    }

    fn pixel_augmentation(&self) -> PixelAugmentation {
        PixelAugmentation {
            vflip: self.vflip,
            degrees: self.degrees,
            auto_augment: self.aa.clone(),
            color_jitter: self.color_jitter,
            color_jitter_prob: self.color_jitter_prob,
            grayscale_prob: self.grayscale_prob,
            gaussian_blur_prob: self.gaussian_blur_prob,
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
