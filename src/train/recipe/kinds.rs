//! Choices that a recipe makes by name.

use std::fmt;
use std::str::FromStr;

use super::error::RecipeError;
use crate::serde_text::serde_as_text;

/// Declares an enum that is read and written by name and suggests a name for an unknown one.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident, $what:literal,
     $($(#[$variant_doc:meta])* $variant:ident = $name:literal $(| $alias:literal)*),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
                    _ => Err(RecipeError::unknown($what, name, Self::NAMES)),
                }
            }
        }

        serde_as_text!($type);
    };
}

named! {
    /// The optimizer, under timm's name. A name that ends in `w` has decoupled weight decay.
    OptimizerKind, "optimizer",
    /// SGD with Nesterov momentum.
    Sgd = "sgd" | "nesterov",
    /// SGD with Nesterov momentum and decoupled weight decay.
    SgdW = "sgdw" | "nesterovw",
    /// SGD with heavy-ball momentum.
    Momentum = "momentum",
    /// Adam.
    Adam = "adam",
    /// AdamW.
    AdamW = "adamw",
    /// Adam with Nesterov momentum, as in PyTorch.
    NAdam = "nadam",
    /// AdamW with Nesterov momentum, as in timm.
    NAdamW = "nadamw",
    /// Rectified Adam.
    RAdam = "radam",
    /// Rectified Adam with decoupled weight decay.
    RAdamW = "radamw",
    /// Adam with the infinity norm.
    Adamax = "adamax",
    /// Adagrad.
    Adagrad = "adagrad",
    /// Adadelta.
    Adadelta = "adadelta",
    /// RMSprop with momentum, as in PyTorch.
    RmsProp = "rmsprop",
    /// RMSprop with momentum, as in TensorFlow.
    RmsPropTf = "rmsproptf",
    /// RMSprop as in TensorFlow, with decoupled weight decay.
    RmsPropTfW = "rmsproptfw",
    /// Adam with a trust ratio for each tensor. It clips gradients to a joint norm of 1.
    Lamb = "lamb",
    /// LAMB with trust ratios of at most 1.
    LambC = "lambc",
    /// LAMB with decoupled weight decay.
    LambW = "lambw",
    /// LAMB with trust ratios of at most 1 and decoupled weight decay.
    LambCW = "lambcw",
    /// Lion, with decoupled weight decay.
    Lion = "lion",
    /// Muon for matrices and convolutions, `muon_fallback` for other parameters. Weight decay is
    /// decoupled.
    Muon = "muon",
    /// Muon with Nesterov momentum.
    NMuon = "nmuon",
}

/// timm's name of an optimizer: the name of an [`OptimizerKind`], or `lookahead_` and that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptimizerName {
    /// The optimizer.
    pub kind: OptimizerKind,
    /// Whether [`Lookahead`](crate::train::optimizer::Lookahead) follows it. `lookahead_radam` is known as Ranger.
    pub lookahead: bool,
}

const LOOKAHEAD: &str = "lookahead_";

impl From<OptimizerKind> for OptimizerName {
    fn from(kind: OptimizerKind) -> Self {
        Self {
            kind,
            lookahead: false,
        }
    }
}

impl fmt::Display for OptimizerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.lookahead { LOOKAHEAD } else { "" };
        write!(f, "{prefix}{}", self.kind)
    }
}

impl FromStr for OptimizerName {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        let Some(rest) = name.strip_prefix(LOOKAHEAD) else {
            return Ok(name.parse::<OptimizerKind>()?.into());
        };
        Ok(Self {
            kind: rest
                .parse()
                .map_err(|e: RecipeError| e.prefixed(LOOKAHEAD))?,
            lookahead: true,
        })
    }
}

serde_as_text!(OptimizerName);

named! {
    /// The optimizer of the parameters that Muon does not update.
    MuonFallback, "muon fallback",
    /// AdamW; NAdamW with `nmuon`.
    AdamW = "adamw",
    /// SGD with momentum; Nesterov momentum with `nmuon`.
    Sgd = "sgd",
}

named! {
    /// The coefficients of Muon's Newton-Schulz iteration.
    NsCoefficients, "set of coefficients",
    /// Different ones in each iteration, as in timm.
    Quintic = "quintic",
    /// The same in each iteration, as in PyTorch.
    Original = "original",
}

named! {
    /// How Muon's learning rate depends on the shape of a matrix.
    AdjustLr, "learning rate adjustment",
    /// Times `0.2 * sqrt(max(rows, columns))`, as in timm.
    MatchRmsAdamW = "match_rms_adamw",
    /// Times `sqrt(max(1, rows / columns))`, as in PyTorch.
    Original = "original",
    /// Times `sqrt(rows / columns)`.
    RmsToRms = "rms_to_rms",
}

named! {
    /// The learning-rate schedule.
    ScheduleKind, "schedule",
    /// Rises to `lr` over `pct_start` of the steps, then falls along a cosine, as PyTorch's
    /// `OneCycleLR` does.
    OneCycle = "onecycle" | "one-cycle",
    /// A cosine from `lr` to `min_lr`, with restarts.
    Cosine = "cosine",
    /// A hyperbolic tangent from `lr` to `min_lr`, with restarts.
    Tanh = "tanh",
    /// A polynomial from `lr` to `min_lr`, with restarts.
    Poly = "poly",
    /// Multiplies the rate by `decay_rate` every `decay_epochs`.
    Step = "step",
    /// Multiplies the rate by `decay_rate` at each of `decay_milestones`.
    MultiStep = "multistep",
    /// Multiplies the rate by `decay_rate` over `decay_epochs`, a little in every step.
    Exponential = "exponential" | "exp",
    /// Multiplies the rate by `decay_rate` after `patience_epochs` epochs without improvement.
    Plateau = "plateau",
    /// The same rate in every step after the warm-up.
    Constant = "constant" | "none",
}

named! {
    /// What the rate changes with.
    SchedOn, "unit of the schedule",
    /// Each update.
    Updates = "updates",
    /// Each epoch.
    Epochs = "epochs",
}

named! {
    /// The figure of the evaluation to improve.
    EvalMetric, "evaluation metric",
    /// The top-1 accuracy.
    Top1 = "top1",
    /// The loss.
    Loss = "loss",
}

named! {
    /// What `clip_grad` bounds.
    ClipMode, "clip mode",
    /// The joint norm of all gradients.
    Norm = "norm",
    /// Each element.
    Value = "value",
    /// The gradient of each output unit, relative to the norm of the unit's weights (adaptive
    /// gradient clipping). The head is not clipped.
    Agc = "agc",
}

named! {
    /// The loss that training minimises.
    LossKind, "loss",
    /// The cross-entropy of the logits.
    CrossEntropy = "cross_entropy" | "cross-entropy",
    /// The margin loss of capsules, for networks whose logits are lengths.
    Margin = "margin",
}

named! {
    /// The type of mixed precision, as timm's `--amp-dtype`.
    AmpDtype, "type of mixed precision",
    /// Factors of the products of convolutions in bfloat16; weights, sums and everything else in f32.
    Bf16 = "bf16" | "bfloat16",
}

named! {
    /// How the running statistics of batch norms become equal on all ranks, as timm's `--dist-bn`.
    DistBn, "way to distribute the statistics of batch norms",
    /// Their mean over all ranks.
    Reduce = "reduce",
    /// Rank 0's.
    Broadcast = "broadcast",
}
