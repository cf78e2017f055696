//! The range of each field, checked before anything is computed or allocated from it.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use super::error::RecipeError;
use super::fields::Recipe;
use super::kinds::{ClipMode, LossKind, MuonFallback, ScheduleKind};
use crate::data::{FlipMode, PadMode};

/// Epochs and, as a set has fewer than 2^32 images, steps stay exact in an f64.
const MAX_EPOCHS: usize = 1_000_000;
/// More images than fit into any memory with their activations.
const MAX_BATCH_SIZE: usize = 1 << 20;
/// More batches than any epoch of a useful size has.
const MAX_GRAD_ACCUM_STEPS: usize = 1 << 20;
/// The largest image size that [`Preprocess`](crate::data::Preprocess) takes.
const MAX_PADDING: usize = 1 << 14;
/// Limit of the standard deviation of input noise.
const MAX_NOISE: f64 = 1000.0;
/// More repetitions than a batch has images add nothing.
const MAX_REPEATS: usize = 1000;
/// Each rectangle takes up to ten attempts.
const MAX_ERASED: usize = 1000;
/// The iteration converges in far fewer.
const MAX_NS_STEPS: usize = 100;
/// A schedule looks at each milestone in every step.
const MAX_MILESTONES: usize = 10_000;
/// A schedule looks at each cycle in every step.
const MAX_CYCLES: usize = 1000;
/// Parameters are f32: larger numbers would be infinite there.
const MAX_NUMBER: f64 = f32::MAX as f64;

impl Recipe {
    /// Checks that every field is in its range.
    ///
    /// # Errors
    /// Names the first field that is not, and its range.
    pub fn validate(&self) -> Result<(), RecipeError> {
        whole("epochs", self.epochs, 1..=MAX_EPOCHS)?;
        let seed = self.seed;
        let fits = seed <= i64::MAX as u64;
        check(
            fits,
            "seed",
            &seed,
            "at most 2^63 - 1, the largest integer of TOML",
        )?;
        whole("batch_size", self.batch_size, 1..=MAX_BATCH_SIZE)?;
        whole(
            "grad_accum_steps",
            self.grad_accum_steps,
            1..=MAX_GRAD_ACCUM_STEPS,
        )?;
        positive("lr", self.lr)?;
        self.validate_optimizer()?;
        self.validate_schedule()?;
        share("smoothing", self.smoothing)?;
        needed(
            "smoothing",
            self.smoothing == 0.0 || self.loss == LossKind::CrossEntropy,
            "the loss cross_entropy",
        )?;
        whole("crop_padding", self.crop_padding, 0..=MAX_PADDING)?;
        let pads = self.crop_padding > 0 || self.crop_pad_mode == PadMode::default();
        needed("crop_pad_mode", pads, "a crop_padding above 0")?;
        probability("hflip", self.hflip)?;
        if let Some(problem) = self.resized_crop().problem() {
            return Err(RecipeError::Crop(problem));
        }
        self.validate_weights()?;
        self.validate_mixing()?;
        self.validate_pixels()?;
        self.validate_fine_tuning()?;
        self.validate_data_parallel()
    }

    fn validate_data_parallel(&self) -> Result<(), RecipeError> {
        needed(
            "dist_bn",
            !self.sync_bn || self.dist_bn.is_none(),
            "batch norms without sync_bn, which makes their statistics equal",
        )
    }

    fn validate_optimizer(&self) -> Result<(), RecipeError> {
        share("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("l1_penalty", self.l1_penalty)?;
        not_negative("l2_penalty", self.l2_penalty)?;
        for beta in self.opt_betas.iter().flatten() {
            share("opt_betas", *beta)?;
        }
        if let Some(eps) = self.opt_eps {
            not_negative("opt_eps", eps)?;
        }
        if let Some(alpha) = self.opt_alpha {
            share("opt_alpha", alpha)?;
        }
        if let Some(scale) = self.fallback_lr_scale {
            positive("fallback_lr_scale", scale)?;
        }
        if let Some(momentum) = self.fallback_momentum {
            share("fallback_momentum", momentum)?;
        }
        if let Some(steps) = self.ns_steps {
            whole("ns_steps", steps, 1..=MAX_NS_STEPS)?;
        }
        // Configurations of version 0.1 have betas for every optimizer, so only flags are checked for them.
        let given = [
            ("muon_fallback", self.muon_fallback.is_some()),
            ("fallback_lr_scale", self.fallback_lr_scale.is_some()),
            ("fallback_momentum", self.fallback_momentum.is_some()),
            ("fallback_list", !self.fallback_list.is_empty()),
            ("normalize_weights", self.normalize_weights),
            ("ns_coefficients", self.ns_coefficients.is_some()),
            ("ns_steps", self.ns_steps.is_some()),
            ("adjust_lr_fn", self.adjust_lr_fn.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            self.opt.kind.check_reads(field)?;
        }
        needed(
            "fallback_momentum",
            self.fallback_momentum.is_none() || self.muon_fallback == Some(MuonFallback::Sgd),
            "muon_fallback sgd",
        )?;
        match (self.clip_grad, self.clip_mode) {
            (Some(clip), _) => positive("clip_grad", clip),
            (None, ClipMode::Norm) => Ok(()),
            (None, ClipMode::Value) => needed("clip_mode value", false, "clip_grad"),
            (None, ClipMode::Agc) => needed("clip_mode agc", false, "clip_grad; 0.01 is usual"),
        }
    }

    fn validate_schedule(&self) -> Result<(), RecipeError> {
        not_negative("warmup_epochs", self.warmup_epochs)?;
        not_negative("warmup_lr", self.warmup_lr)?;
        not_negative("min_lr", self.min_lr)?;
        probability("pct_start", self.pct_start)?;
        factor("div_factor", self.div_factor)?;
        factor("final_div_factor", self.final_div_factor)?;
        positive("decay_epochs", self.decay_epochs)?;
        let epochs = self.decay_epochs;
        let fits = (1e-6..=1e9).contains(&epochs);
        check(fits, "decay_epochs", &epochs, "between 1e-6 and 1e9")?;
        let milestones = &self.decay_milestones;
        let fits = milestones.len() <= MAX_MILESTONES;
        check(
            fits,
            "decay_milestones",
            &milestones.len(),
            "at most 10000 epochs",
        )?;
        for milestone in milestones {
            not_negative("decay_milestones", *milestone)?;
        }
        for pair in milestones.windows(2) {
            check(pair[0] <= pair[1], "decay_milestones", &pair, "ascending")?;
        }
        factor("decay_rate", self.decay_rate)?;
        let below = self.sched != ScheduleKind::Plateau || self.decay_rate < 1.0;
        check(
            below,
            "decay_rate",
            &self.decay_rate,
            "less than 1 with plateau",
        )?;
        // One-cycle has no warm-up.
        let one_cycle = self.sched == ScheduleKind::OneCycle;
        let fits = one_cycle || self.warmup_epochs <= self.epochs as f64;
        check(fits, "warmup_epochs", &self.warmup_epochs, AT_MOST_EPOCHS)?;
        self.validate_refinements()?;
        self.validate_momentum_cycle()?;
        self.validate_stopping()
    }

    /// Checks the fields of some schedules that are not set by default.
    fn validate_refinements(&self) -> Result<(), RecipeError> {
        let given = [
            ("warmup_prefix", self.warmup_prefix.is_some()),
            ("cooldown_epochs", self.cooldown_epochs.is_some()),
            ("lr_cycle_limit", self.lr_cycle_limit.is_some()),
            ("lr_cycle_mul", self.lr_cycle_mul.is_some()),
            ("lr_cycle_decay", self.lr_cycle_decay.is_some()),
            ("lr_k_decay", self.lr_k_decay.is_some()),
            ("poly_power", self.poly_power.is_some()),
            ("tanh_lb", self.tanh_lb.is_some()),
            ("tanh_ub", self.tanh_ub.is_some()),
            ("cycle_momentum", self.cycle_momentum),
            ("base_momentum", self.base_momentum.is_some()),
            ("max_momentum", self.max_momentum.is_some()),
            ("patience_epochs", self.patience_epochs.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            self.sched.check_reads(field)?;
        }
        needed(
            "warmup_prefix",
            self.warmup_prefix.is_none() || self.warmup_epochs > 0.0,
            "warmup_epochs",
        )?;
        if let Some(cooldown) = self.cooldown_epochs {
            not_negative("cooldown_epochs", cooldown)?;
            let fits = self.warmup_epochs + cooldown <= self.epochs as f64;
            let expected = "at most the number of epochs, with warmup_epochs";
            check(fits, "cooldown_epochs", &cooldown, expected)?;
        }
        whole("lr_cycle_limit", self.cycle_limit(), 1..=MAX_CYCLES)?;
        for (field, value) in [
            ("lr_cycle_mul", self.lr_cycle_mul),
            ("lr_cycle_decay", self.lr_cycle_decay),
        ] {
            let several = value.is_none() || self.cycle_limit() > 1;
            needed(field, several, "an lr_cycle_limit above 1")?;
        }
        if let Some(mul) = self.lr_cycle_mul {
            let fits = (0.01..=100.0).contains(&mul);
            check(fits, "lr_cycle_mul", &mul, "between 0.01 and 100")?;
            let longest = mul.powf(self.cycle_limit() as f64);
            let expected = "smaller for this lr_cycle_limit: the first cycle has no length";
            check(longest <= MAX_NUMBER, "lr_cycle_mul", &mul, expected)?;
        }
        if let Some(decay) = self.lr_cycle_decay {
            let fits = decay > 0.0 && decay <= 1.0;
            check(fits, "lr_cycle_decay", &decay, "positive and at most 1")?;
        }
        for (field, value) in [
            ("lr_k_decay", self.lr_k_decay),
            ("poly_power", self.poly_power),
        ] {
            let Some(value) = value else { continue };
            let fits = (0.01..=100.0).contains(&value);
            check(fits, field, &value, "between 0.01 and 100")?;
        }
        let [lb, ub] = self.tanh_bounds();
        for (field, bound) in [("tanh_lb", lb), ("tanh_ub", ub)] {
            let fits = (-100.0..=100.0).contains(&bound);
            check(fits, field, &bound, "between -100 and 100")?;
        }
        check(lb < ub, "tanh_lb", &lb, "less than tanh_ub")?;
        let patience = self.patience_epochs.unwrap_or(0);
        whole("patience_epochs", patience, 0..=MAX_EPOCHS)
    }

    fn validate_momentum_cycle(&self) -> Result<(), RecipeError> {
        for (field, momentum) in [
            ("base_momentum", self.base_momentum),
            ("max_momentum", self.max_momentum),
        ] {
            let Some(momentum) = momentum else { continue };
            share(field, momentum)?;
            needed(field, self.cycle_momentum, "cycle_momentum")?;
        }
        let [base, max] = self.momenta();
        check(base <= max, "base_momentum", &base, "at most max_momentum")?;
        needed(
            "cycle_momentum",
            !self.cycle_momentum || self.opt.kind.has_momentum(),
            "another optimizer than adagrad, adadelta and nadam",
        )
    }

    fn validate_stopping(&self) -> Result<(), RecipeError> {
        let patience = self.early_stop_patience.unwrap_or(1);
        whole("early_stop_patience", patience, 1..=MAX_EPOCHS)?;
        let Some(delta) = self.early_stop_min_delta else {
            return Ok(());
        };
        not_negative("early_stop_min_delta", delta)?;
        needed(
            "early_stop_min_delta",
            self.early_stop_patience.is_some(),
            "early_stop_patience",
        )
    }

    fn validate_mixing(&self) -> Result<(), RecipeError> {
        needed(
            "flip_mode alternating",
            self.flip_mode != FlipMode::Alternating || self.hflip == 0.5,
            "hflip 0.5, as it mirrors half of the images",
        )?;
        whole("aug_repeats", self.aug_repeats, 0..=MAX_REPEATS)?;
        alpha("mixup", self.mixup)?;
        alpha("cutmix", self.cutmix)?;
        if let Some([low, high]) = self.cutmix_minmax {
            let fits = 0.0 < low && low <= high && high <= 1.0;
            let expected = "two fractions in (0, 1], the smaller one first";
            check(fits, "cutmix_minmax", &[low, high], expected)?;
        }
        probability("mixup_prob", self.mixup_prob.unwrap_or(1.0))?;
        probability("mixup_switch_prob", self.mixup_switch_prob.unwrap_or(0.5))?;
        whole(
            "mixup_off_epoch",
            self.mixup_off_epoch.unwrap_or(1),
            1..=MAX_EPOCHS,
        )?;
        let of_mixing = [
            ("mixup_prob", self.mixup_prob.is_some()),
            ("mixup_switch_prob", self.mixup_switch_prob.is_some()),
            ("mixup_mode", self.mixup_mode.is_some()),
            ("mixup_off_epoch", self.mixup_off_epoch.is_some()),
        ];
        for (field, _) in of_mixing.iter().filter(|(_, given)| *given) {
            needed(field, self.mixes(), "mixup or cutmix")?;
        }
        needed(
            "mixup_switch_prob",
            self.mixup_switch_prob.is_none() || self.switches(),
            "both mixup and cutmix",
        )?;
        let mixing = if self.mixup > 0.0 { "mixup" } else { "cutmix" };
        needed(
            mixing,
            !self.mixes() || self.loss != LossKind::Margin,
            "the loss cross_entropy; the margin loss takes no mixed labels",
        )?;
        probability("reprob", self.reprob)?;
        whole("recount", self.recount.unwrap_or(1), 1..=MAX_ERASED)?;
        whole("cutout", self.cutout, 0..=MAX_PADDING)?;
        let noise = (0.0..=MAX_NOISE).contains(&self.input_noise);
        check(
            noise,
            "input_noise",
            &self.input_noise,
            "between 0 and 1000",
        )?;
        let of_erasing = [
            ("remode", self.remode.is_some()),
            ("recount", self.recount.is_some()),
        ];
        for (field, _) in of_erasing.iter().filter(|(_, given)| *given) {
            needed(field, self.reprob > 0.0, "reprob")?;
        }
        Ok(())
    }

    fn validate_pixels(&self) -> Result<(), RecipeError> {
        probability("vflip", self.vflip)?;
        probability("grayscale_prob", self.grayscale_prob)?;
        probability("gaussian_blur_prob", self.gaussian_blur_prob)?;
        let turns = (0.0..=180.0).contains(&self.degrees);
        check(turns, "degrees", &self.degrees, "between 0 and 180")?;
        let Some(jitter) = &self.color_jitter else {
            return needed(
                "color_jitter_prob",
                self.color_jitter_prob.is_none(),
                "color_jitter; 0.4 is usual",
            );
        };
        if let Some(expected) = jitter.broken_range() {
            check(false, "color_jitter", &jitter.values(), expected)?;
        }
        needed(
            "color_jitter",
            self.aa.as_ref().is_none_or(|aa| aa.is_three_augment()),
            "no aa, or aa 3a; other policies change the colours themselves",
        )?;
        self.color_jitter_prob
            .map_or(Ok(()), |p| probability("color_jitter_prob", p))
    }

    fn validate_fine_tuning(&self) -> Result<(), RecipeError> {
        if let Some(decay) = self.layer_decay {
            let ok = decay > 0.0 && decay <= 1.0;
            check(ok, "layer_decay", &decay, "positive and at most 1")?;
        }
        let warmup = self.head_warmup_epochs;
        not_negative("head_warmup_epochs", warmup)?;
        let fits = warmup <= self.epochs as f64;
        check(fits, "head_warmup_epochs", &warmup, AT_MOST_EPOCHS)?;
        let fits = !self.freeze_backbone || warmup == 0.0;
        let expected = "0 with freeze_backbone, which trains only the head throughout";
        check(fits, "head_warmup_epochs", &warmup, expected)
    }
}

const AT_MOST_EPOCHS: &str = "at most the number of epochs";

pub(super) fn check(
    ok: bool,
    field: &'static str,
    value: &dyn Debug,
    expected: &str,
) -> Result<(), RecipeError> {
    if ok {
        return Ok(());
    }
    Err(RecipeError::OutOfRange {
        field,
        value: format!("{value:?}"),
        expected: expected.to_owned(),
    })
}

/// Refuses a field that has no effect without `needs`.
pub(super) fn needed(
    field: &'static str,
    met: bool,
    needs: &'static str,
) -> Result<(), RecipeError> {
    if met {
        return Ok(());
    }
    Err(RecipeError::Needs { field, needs })
}

pub(super) fn whole(
    field: &'static str,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<(), RecipeError> {
    check(value >= *range.start(), field, &value, "1 or more")?;
    let expected = format!("at most {}", range.end());
    check(value <= *range.end(), field, &value, &expected)
}

pub(super) fn positive(field: &'static str, value: f64) -> Result<(), RecipeError> {
    let ok = value.is_finite() && value > 0.0;
    check(ok, field, &value, "a positive number")?;
    check(value <= MAX_NUMBER, field, &value, TOO_LARGE)
}

fn not_negative(field: &'static str, value: f64) -> Result<(), RecipeError> {
    let ok = value.is_finite() && value >= 0.0;
    check(ok, field, &value, "0 or a positive number")?;
    check(value <= MAX_NUMBER, field, &value, TOO_LARGE)
}

const TOO_LARGE: &str = "at most 3.4e38, the largest f32";

pub(super) fn share(field: &'static str, value: f64) -> Result<(), RecipeError> {
    let ok = (0.0..1.0).contains(&value);
    check(ok, field, &value, "at least 0 and less than 1")
}

fn probability(field: &'static str, value: f64) -> Result<(), RecipeError> {
    check(
        (0.0..=1.0).contains(&value),
        field,
        &value,
        "between 0 and 1",
    )
}

/// A parameter of a Beta distribution, or 0. Draws outside this range are 0 and 1, or one half.
fn alpha(field: &'static str, value: f64) -> Result<(), RecipeError> {
    let ok = value == 0.0 || (1e-3..=1e3).contains(&value);
    check(ok, field, &value, "0, or between 0.001 and 1000")
}

/// Multiplies or divides a learning rate, which stays finite.
fn factor(field: &'static str, value: f64) -> Result<(), RecipeError> {
    positive(field, value)?;
    check(
        (1e-12..=1e12).contains(&value),
        field,
        &value,
        "between 1e-12 and 1e12",
    )
}
