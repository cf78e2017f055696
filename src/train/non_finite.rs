//! Where an infinite or NaN value first appeared in a step.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The first infinite or NaN value of a step, in the order of computation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NonFiniteOrigin {
    /// The images of the batch.
    Images,
    /// A parameter, already before the step.
    Parameter(String),
    /// The output of a layer in the forward pass.
    Forward {
        /// The path of the layer.
        layer: String,
        /// The type of the layer, by PyTorch's name.
        kind: String,
    },
    /// The loss of finite logits.
    Loss,
    /// The gradient of a parameter in the backward pass. The gradients of later parameters are
    /// finite.
    Backward(String),
    /// The loss of the evaluation, after the updates of the epoch.
    Evaluation,
}

impl fmt::Display for NonFiniteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images => write!(f, "the batch has values that are not finite"),
            Self::Parameter(name) => write!(f, "{name} was not finite before the step"),
            Self::Forward { layer, kind } => {
                write!(f, "first in the forward pass, output of {layer} ({kind})")
            }
            Self::Loss => write!(f, "first in the loss, after finite logits"),
            Self::Backward(name) => write!(f, "first in the backward pass, gradient of {name}"),
            Self::Evaluation => write!(f, "in the evaluation"),
        }
    }
}
