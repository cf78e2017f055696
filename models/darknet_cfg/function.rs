//! darknet's activations.

use candle_mish::activation::Activation;

/// What follows the sum of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    /// Nothing: the layer has no activation that could be replaced.
    None,
    /// The logistic function, darknet's gate in squeeze-and-excitation.
    Gate,
    /// An activation that can be replaced.
    Activation(Activation),
}

/// darknet's name of each activation that computes the same as one of ours (`src/activations.h`).
const NAMES: [(&str, Function); 13] = [
    ("linear", Function::None),
    ("logistic", Function::Gate),
    ("mish", Function::Activation(Activation::Mish)),
    ("hard_mish", Function::Activation(Activation::HardMish)),
    ("swish", Function::Activation(Activation::Silu)),
    ("relu", Function::Activation(Activation::Relu)),
    ("relu6", Function::Activation(Activation::Relu6)),
    (
        "leaky",
        Function::Activation(Activation::LeakyRelu { slope: 0.1 }),
    ),
    (
        "relie",
        Function::Activation(Activation::LeakyRelu { slope: 0.01 }),
    ),
    ("elu", Function::Activation(Activation::Elu { alpha: 1.0 })),
    ("gelu", Function::Activation(Activation::GeluTanh)),
    ("tanh", Function::Activation(Activation::Tanh)),
    (
        "hardtan",
        Function::Activation(Activation::Hardtanh {
            min: -1.0,
            max: 1.0,
        }),
    ),
];

impl Function {
    /// The function that darknet calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(own, _)| *own == name);
        found.map(|(_, function)| *function)
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The activation, if it can be replaced.
    pub fn activation(self) -> Option<Activation> {
        match self {
            Self::Activation(activation) => Some(activation),
            Self::None | Self::Gate => None,
        }
    }
}
