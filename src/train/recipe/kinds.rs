//! Choices that a recipe makes by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::RecipeError;

/// Declares an enum that is read and written by name and suggests a name for an unknown one.
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
                    _ => Err(RecipeError::unknown($what, name, Self::NAMES)),
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
    /// Rises to `lr` over `pct_start` of the steps, then falls along a cosine, as PyTorch's
    /// `OneCycleLR` does.
    OneCycle = "onecycle" | "one-cycle",
    /// A linear warm-up, then a cosine from `lr` to `min_lr`.
    Cosine = "cosine",
    /// Multiplies the rate by `decay_rate` every `decay_epochs`.
    Step = "step",
    /// Multiplies the rate by `decay_rate` at each of `decay_milestones`.
    MultiStep = "multistep",
    /// The same rate in every step after the warm-up.
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
    /// The loss that training minimises.
    LossKind, "loss",
    /// The cross-entropy of the logits.
    CrossEntropy = "cross_entropy" | "cross-entropy",
    /// The margin loss of capsules, for networks whose logits are lengths.
    Margin = "margin",
}
