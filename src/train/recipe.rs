//! A recipe: every hyperparameter of a run, under timm's names where timm has one.

use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::optimizer::{Clip, Rule};
use super::schedule::{Schedule, Warmup};
use crate::data::{Augmentation, PadMode, ResizedCrop};
use crate::ops::{CrossEntropy, Margin, Target, cross_entropy, margin_loss};
use crate::suggest::suggest;

/// A recipe that cannot be read or cannot work; the message names the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct RecipeError(String);

/// Declares an enum whose variants are written as names, with a suggestion for a wrong one.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal,
     $($(#[$variant_doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $type {
            $($(#[$variant_doc])* $variant),+
        }

        impl $type {
            /// All names, without aliases.
            pub const NAMES: &'static [&'static str] = &[$($name),+];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = RecipeError;

            fn from_str(name: &str) -> Result<Self, RecipeError> {
                match name {
                    $($name $(| $alias)* => Ok(Self::$variant),)+
                    _ => Err(RecipeError(unknown($what, name, Self::NAMES))),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = RecipeError;

            fn try_from(name: String) -> Result<Self, RecipeError> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

/// "unknown optimizer 'sdg'; did you mean 'sgd'?"
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match suggest(name, known.iter().copied()) {
        Some(best) => format!("unknown {what} '{name}'; did you mean '{best}'?"),
        None => format!("unknown {what} '{name}'; one of {}", known.join(", ")),
    }
}

named! {
    /// The optimizer.
    OptimizerKind, "optimizer",
    /// SGD with Nesterov momentum.
    Sgd = "sgd" | "nesterov",
    /// SGD with heavy-ball momentum.
    Momentum = "momentum",
    /// Adam.
    Adam = "adam",
    /// AdamW.
    AdamW = "adamw",
    /// RMSprop with momentum.
    RmsProp = "rmsprop",
}

named! {
    /// The learning-rate schedule.
    ScheduleKind, "schedule",
    /// Up to `lr` over `pct_start` of the steps and down a cosine, as PyTorch's `OneCycleLR`.
    OneCycle = "onecycle" | "one-cycle",
    /// A warm-up, then a cosine down to `min_lr`.
    Cosine = "cosine",
    /// Multiplied by `decay_rate` every `decay_epochs`.
    Step = "step",
    /// Multiplied by `decay_rate` at each of `decay_milestones`.
    MultiStep = "multistep",
    /// One rate.
    Constant = "constant" | "none",
}

named! {
    /// What `clip_grad` bounds.
    ClipMode, "clip mode",
    /// The joint norm of all gradients.
    Norm = "norm",
    /// Each element.
    Value = "value",
}

named! {
    /// What is made small.
    LossKind, "loss",
    /// The cross-entropy of the logits.
    CrossEntropy = "cross_entropy" | "cross-entropy",
    /// The margin loss of capsules, for networks whose logits are lengths.
    Margin = "margin",
}

/// Every hyperparameter of a training run.
///
/// The default trains a CIFAR ResNet in few epochs: SGD with Nesterov momentum, one cycle to a
/// rate of 0.3, weight decay on weights only, reflect-padded crops and flips.
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
    /// The learning rate, the highest one where the schedule varies it.
    pub lr: f64,
    /// Momentum of SGD and RMSprop.
    pub momentum: f64,
    /// Weight decay; not on norms and biases.
    pub weight_decay: f64,
    /// Adam's decays of its running means.
    pub opt_betas: [f64; 2],
    /// What Adam and RMSprop add to the denominator.
    pub opt_eps: f64,
    /// RMSprop's decay of the running mean of squares.
    pub opt_alpha: f64,
    /// The schedule.
    pub sched: ScheduleKind,
    /// Epochs of linear warm-up, not for one-cycle.
    pub warmup_epochs: f64,
    /// The rate that the warm-up begins with.
    pub warmup_lr: f64,
    /// The rate at which a cosine ends.
    pub min_lr: f64,
    /// One-cycle: the share of steps with a rising rate.
    pub pct_start: f64,
    /// One-cycle: the first rate is `lr` divided by this.
    pub div_factor: f64,
    /// One-cycle: the last rate is the first divided by this.
    pub final_div_factor: f64,
    /// Step: epochs between two decays.
    pub decay_epochs: f64,
    /// Multi-step: epochs after which the rate decays.
    pub decay_milestones: Vec<f64>,
    /// Step and multi-step: the factor of a decay.
    pub decay_rate: f64,
    /// The loss.
    pub loss: LossKind,
    /// Label smoothing, of cross-entropy.
    pub smoothing: f64,
    /// Bound of gradient clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_grad: Option<f64>,
    /// What `clip_grad` bounds.
    pub clip_mode: ClipMode,
    /// Pixels of padding for random crops; 0 does not crop.
    pub crop_padding: usize,
    /// What the padding holds.
    pub crop_pad_mode: PadMode,
    /// The probability of mirroring an image left and right.
    pub hflip: f64,
    /// For folders of images: the smallest and largest share of a picture's area in a random crop.
    pub scale: [f64; 2],
    /// For folders of images: the smallest and largest width of a random crop, in heights.
    pub ratio: [f64; 2],
    /// The learning rate of a layer is that of the next one times this; that of the head is `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// Only the head learns, on the features of the trained backbone.
    pub freeze_backbone: bool,
    /// Epochs at the beginning in which only the head learns.
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
    /// What trained weights take of the rate of random ones: 0.02 of 0.3. At the full rate they
    /// would be gone after a few steps.
    const FINE_TUNING_RATE: f64 = 1.0 / 15.0;

    /// The recipe for weights that are trained already.
    pub fn for_trained_weights(self) -> Self {
        Self {
            lr: Self::FINE_TUNING_RATE * self.lr,
            ..self
        }
    }

    /// Reads and checks a recipe in TOML; fields left out have their defaults.
    ///
    /// # Errors
    /// A syntax error, an unknown field, or a value out of range.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = toml::from_str(text).map_err(|e| RecipeError(one_line(&e)))?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// Checks that every value can work.
    ///
    /// # Errors
    /// Names the first field that cannot, and what it may be.
    pub fn validate(&self) -> Result<(), RecipeError> {
        let check = |ok: bool, field: &str, value: &dyn fmt::Display, must: &str| {
            if ok {
                Ok(())
            } else {
                Err(RecipeError(format!("{field} is {value}, must be {must}")))
            }
        };
        let positive = |field: &str, value: f64| {
            let ok = value.is_finite() && value > 0.0;
            check(ok, field, &value, "a positive number")
        };
        let not_negative = |field: &str, value: f64| {
            let ok = value.is_finite() && value >= 0.0;
            check(ok, field, &value, "0 or a positive number")
        };
        let share = |field: &str, value: f64| {
            let ok = (0.0..1.0).contains(&value);
            check(ok, field, &value, "at least 0 and less than 1")
        };
        let one_or_more = "1 or more";
        check(self.epochs >= 1, "epochs", &self.epochs, one_or_more)?;
        let batch_size = self.batch_size;
        let (seed, most) = (self.seed, i64::MAX as u64);
        check(
            seed <= most,
            "seed",
            &seed,
            "at most 2^63 - 1, as TOML holds no more",
        )?;
        check(batch_size >= 1, "batch_size", &batch_size, one_or_more)?;
        positive("lr", self.lr)?;
        share("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)?;
        share("opt_betas", self.opt_betas[0])?;
        share("opt_betas", self.opt_betas[1])?;
        not_negative("opt_eps", self.opt_eps)?;
        share("opt_alpha", self.opt_alpha)?;
        not_negative("warmup_epochs", self.warmup_epochs)?;
        not_negative("warmup_lr", self.warmup_lr)?;
        not_negative("min_lr", self.min_lr)?;
        let pct_start = self.pct_start;
        let ok = (0.0..=1.0).contains(&pct_start);
        check(ok, "pct_start", &pct_start, "between 0 and 1")?;
        positive("div_factor", self.div_factor)?;
        positive("final_div_factor", self.final_div_factor)?;
        positive("decay_epochs", self.decay_epochs)?;
        for milestone in &self.decay_milestones {
            not_negative("decay_milestones", *milestone)?;
        }
        let ascending = self.decay_milestones.is_sorted();
        let milestones = format!("{:?}", self.decay_milestones);
        check(ascending, "decay_milestones", &milestones, "ascending")?;
        positive("decay_rate", self.decay_rate)?;
        share("smoothing", self.smoothing)?;
        let ok = (0.0..=1.0).contains(&self.hflip);
        check(ok, "hflip", &self.hflip, "between 0 and 1")?;
        if let Some(problem) = self.resized_crop().problem() {
            return Err(RecipeError(problem.to_string()));
        }
        self.clip_grad
            .map_or(Ok(()), |clip| positive("clip_grad", clip))?;
        let warmup_used = !matches!(self.sched, ScheduleKind::OneCycle);
        let fits = !warmup_used || self.warmup_epochs <= self.epochs as f64;
        let must = "at most the number of epochs";
        check(fits, "warmup_epochs", &self.warmup_epochs, must)?;
        if let Some(decay) = self.layer_decay {
            let ok = decay > 0.0 && decay <= 1.0;
            check(ok, "layer_decay", &decay, "positive and at most 1")?;
        }
        let warmup = self.head_warmup_epochs;
        not_negative("head_warmup_epochs", warmup)?;
        let fits = warmup <= self.epochs as f64;
        check(fits, "head_warmup_epochs", &warmup, must)?;
        let must = "0 where freeze_backbone keeps it to the head throughout";
        let fits = !self.freeze_backbone || warmup == 0.0;
        check(fits, "head_warmup_epochs", &warmup, must)
    }

    /// Whether parts of the network are treated differently.
    pub fn tells_parts_apart(&self) -> bool {
        self.layer_decay.is_some() || self.freeze_backbone || self.head_warmup_epochs > 0.0
    }

    /// The rule of the optimizer.
    pub fn rule(&self) -> Rule {
        let betas = self.opt_betas.into();
        let eps = self.opt_eps;
        let momentum = self.momentum;
        match self.opt {
            OptimizerKind::Sgd => Rule::Sgd {
                momentum,
                nesterov: true,
            },
            OptimizerKind::Momentum => Rule::Sgd {
                momentum,
                nesterov: false,
            },
            OptimizerKind::Adam => Rule::Adam { betas, eps },
            OptimizerKind::AdamW => Rule::AdamW { betas, eps },
            OptimizerKind::RmsProp => Rule::RmsProp {
                alpha: self.opt_alpha,
                momentum,
                eps,
                centered: false,
            },
        }
    }

    /// The schedule of a run with this many steps in an epoch.
    pub fn schedule(&self, steps_per_epoch: usize) -> Schedule {
        self.schedule_over((self.epochs * steps_per_epoch) as u64)
    }

    /// The schedule of a run of `total_steps`; what is counted in epochs takes the same share of it
    /// as of [`epochs`](Self::epochs).
    pub fn schedule_over(&self, total_steps: u64) -> Schedule {
        let epoch = total_steps as f64 / self.epochs as f64;
        let steps = |epochs: f64| (epochs * epoch).round() as u64;
        let warmup = Warmup {
            lr: self.warmup_lr,
            steps: steps(self.warmup_epochs),
        };
        let multi_step = |milestones: Vec<u64>| Schedule::MultiStep {
            lr: self.lr,
            gamma: self.decay_rate,
            milestones,
            warmup,
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
            ScheduleKind::Step => {
                let decays = (self.epochs as f64 / self.decay_epochs).floor() as u64;
                let milestone = |i: u64| steps(i as f64 * self.decay_epochs);
                multi_step((1..=decays).map(milestone).collect())
            }
            ScheduleKind::MultiStep => {
                multi_step(self.decay_milestones.iter().map(|e| steps(*e)).collect())
            }
            ScheduleKind::Constant => Schedule::Constant {
                lr: self.lr,
                warmup,
            },
        }
    }

    /// The loss of logits [N, K] for the classes `labels` `[N]`, a scalar.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn loss_of(&self, logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
        match self.loss {
            LossKind::CrossEntropy => {
                let options = CrossEntropy {
                    label_smoothing: self.smoothing,
                    ..CrossEntropy::default()
                };
                cross_entropy(logits, &Target::Classes(labels), &options)
            }
            LossKind::Margin => margin_loss(logits, labels, &Margin::default()),
        }
    }

    /// The changes to training images.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            crop_padding: self.crop_padding,
            pad_mode: self.crop_pad_mode,
            hflip: self.hflip,
            resized_crop: Some(self.resized_crop()),
        }
    }

    fn resized_crop(&self) -> ResizedCrop {
        ResizedCrop {
            scale: self.scale,
            ratio: self.ratio,
        }
    }

    /// How gradients are clipped.
    pub fn clip(&self) -> Option<Clip> {
        self.clip_grad.map(|bound| match self.clip_mode {
            ClipMode::Norm => Clip::Norm(bound),
            ClipMode::Value => Clip::Value(bound),
        })
    }
}

/// The message of a TOML error with its place, in one line.
pub(super) fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}
