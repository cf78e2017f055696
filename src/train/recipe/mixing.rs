//! From the fields of a recipe to the loader of the training images.

use super::fields::Recipe;
use crate::data::{LoaderConfig, Mixup, MixupMode, RandomErasing};

impl Recipe {
    /// The configuration of the loader of the training images. `mean` and `std` normalise them;
    /// `num_classes` is the number of logits.
    pub fn loader_config(&self, mean: [f32; 3], std: [f32; 3], num_classes: usize) -> LoaderConfig {
        LoaderConfig {
            augmentation: self.augmentation(),
            mixup: self.mixes().then(|| self.mixup_of(num_classes)),
            aug_repeats: self.aug_repeats,
            train_img_sizes: self.train_img_sizes.clone(),
            seed: self.seed,
            ..LoaderConfig::in_order(self.batch_size, mean, std).shuffled()
        }
    }

    /// The same recipe with the default of each option of mixup, CutMix and random erasing, if they are
    /// on.
    pub fn with_mixing_defaults(mut self) -> Self {
        if self.mixes() {
            self.mixup_prob.get_or_insert(1.0);
            self.mixup_mode.get_or_insert_default();
            if self.switches() {
                self.mixup_switch_prob.get_or_insert(0.5);
            }
        }
        if self.reprob > 0.0 {
            self.remode.get_or_insert_default();
            self.recount.get_or_insert(1);
        }
        self
    }

    /// Whether mixup or CutMix is on.
    pub(super) fn mixes(&self) -> bool {
        self.mixup > 0.0 || self.cuts()
    }

    /// Whether both are on.
    pub(super) fn switches(&self) -> bool {
        self.mixup > 0.0 && self.cuts()
    }

    fn cuts(&self) -> bool {
        self.cutmix > 0.0 || self.cutmix_minmax.is_some()
    }

    fn mixup_of(&self, num_classes: usize) -> Mixup {
        Mixup {
            mixup_alpha: self.mixup,
            cutmix_alpha: self.cutmix,
            cutmix_minmax: self.cutmix_minmax,
            prob: self.mixup_prob.unwrap_or(1.0),
            switch_prob: self.mixup_switch_prob.unwrap_or(0.5),
            mode: self.mixup_mode.unwrap_or(MixupMode::Batch),
            off_epoch: self.mixup_off_epoch.map(|epoch| epoch as u64),
            num_classes,
        }
    }

    pub(super) fn erasing(&self) -> Option<RandomErasing> {
        (self.reprob > 0.0).then(|| RandomErasing {
            prob: self.reprob,
            mode: self.remode.unwrap_or_default(),
            count: self.recount.unwrap_or(1),
        })
    }
}
