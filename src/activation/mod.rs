//! The activation functions: one table of names, parameters, functions and derivatives.
//!
//! An [`Activation`] prints as its name, followed by its parameters if they differ from the
//! defaults: `mish`, `leaky_relu:0.1`, `hardtanh:-2,2`. [`FromStr`] reads the same form. Command
//! lines, configurations and checkpoints use it.

mod by_layer;
pub(crate) mod functions;
mod second_derivative;

use std::fmt;
use std::str::FromStr;

pub use by_layer::{LayerActivations, ParseLayersError};

use crate::serde_text::serde_as_text;
use crate::suggest::suggest;
use functions as f;

/// The reason why a text does not parse as an activation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParseActivationError {
    /// No activation has this name.
    #[error("unknown activation '{name}'{}", hint(.suggestion.as_deref()))]
    Unknown {
        /// The unknown name.
        name: String,
        /// The most similar name, if one is similar.
        suggestion: Option<String>,
    },
    /// A parameter is not a finite number.
    #[error("activation '{name}': '{text}' is not a number")]
    NotANumber {
        /// The activation.
        name: &'static str,
        /// The text of the parameter.
        text: String,
    },
    /// The activation has fewer parameters.
    #[error("activation '{name}' takes {}, not {given}", count(*.taken))]
    TooManyParameters {
        /// The activation.
        name: &'static str,
        /// The number of its parameters.
        taken: usize,
        /// The number of parameters in the text.
        given: usize,
    },
    /// The function is not defined for a parameter.
    #[error("activation '{name}': {requirement}")]
    OutOfRange {
        /// The activation.
        name: &'static str,
        /// The condition that the parameters do not meet.
        requirement: &'static str,
    },
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

fn count(parameters: usize) -> String {
    match parameters {
        0 => "no parameters".to_string(),
        1 => "one parameter".to_string(),
        n => format!("{n} parameters"),
    }
}

/// Writes the enum and its methods from one table. A row is
/// `Variant { parameter = default } "name" "alias"…, value, derivative`; the functions take x
/// and the parameters in order.
macro_rules! activations {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $({ $($(#[doc = $parameter_doc:literal])+ $parameter:ident = $default:expr),+ })?
        $name:literal $($alias:literal)*, $value:expr, $derivative:expr;
    )*) => {
        /// An activation function with its parameters.
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[non_exhaustive]
        pub enum Activation {
            $(
                $(#[doc = $doc])+
                $variant $({ $($(#[doc = $parameter_doc])+ $parameter: f64),+ })?,
            )*
        }

        impl Activation {
            /// Every activation with its default parameters, in the table's order.
            pub fn all() -> impl Iterator<Item = Self> {
                [$(Self::$variant { $($($parameter: $default),+)? }),*].into_iter()
            }

            /// The name, without parameters.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// Other names that are parsed as this activation.
            pub fn aliases(&self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant { .. } => &[$($alias),*],)*
                }
            }

            /// The parameters' names and values, in order.
            pub fn parameters(&self) -> Vec<(&'static str, f64)> {
                match *self {
                    $(Self::$variant { $($($parameter),+)? } => {
                        vec![$($((stringify!($parameter), $parameter)),+)?]
                    })*
                }
            }

            /// The activation with these values for its first parameters.
            pub(crate) fn with_parameters(self, values: &[f64]) -> Self {
                let mut values = values.iter().copied();
                match self {
                    $(Self::$variant { $($($parameter),+)? } => Self::$variant {
                        $($($parameter: values.next().unwrap_or($parameter)),+)?
                    },)*
                }
            }

            /// f(x) in double precision.
            ///
            /// Learnable parameters have their initial value, random slopes their mean.
            #[inline]
            pub fn value(&self, x: f64) -> f64 {
                match *self {
                    $(Self::$variant { $($($parameter),+)? } => ($value)(x $($(, $parameter)+)?),)*
                }
            }

            /// f'(x) in double precision; at a kink of f, PyTorch's value.
            #[inline]
            pub fn derivative(&self, x: f64) -> f64 {
                match *self {
                    $(Self::$variant { $($($parameter),+)? } => ($derivative)(x $($(, $parameter)+)?),)*
                }
            }
        }
    };
}

activations! {
    /// x
    Identity "identity" "linear" "none", |x| x, |_| 1.0;
    /// x tanh(ln(1 + e^x)) (Misra, 2019).
    Mish "mish", f::mish, f::mish_derivative;
    /// x sigmoid(x), Swish with its parameter at 1 (Ramachandran et al., 2017).
    Silu "silu" "swish" "swish1" "swish-1", f::silu, f::silu_derivative;
    /// A multiple of x sigmoid(x) (Alcaide, 2018).
    ESwish {
        /// The factor.
        beta = 1.75
    } "e_swish" "eswish", |x, b| b * f::silu(x), |x, b| b * f::silu_derivative(x);
    /// x times the normal distribution function (Hendrycks and Gimpel, 2016).
    Gelu "gelu", f::gelu, f::gelu_derivative;
    /// GELU with the distribution function approximated by a hyperbolic tangent.
    GeluTanh "gelu_tanh", f::gelu_tanh, f::gelu_tanh_derivative;
    /// max(x, 0)
    Relu "relu", |x| f::leaky_relu(x, 0.0), |x| f::leaky_relu_derivative(x, 0.0);
    /// min(max(x, 0), 6)
    Relu6 "relu6", |x| f::hardtanh(x, 0.0, 6.0), |x| f::hardtanh_derivative(x, 0.0, 6.0);
    /// x where positive, a multiple of it elsewhere (Maas et al., 2013).
    LeakyRelu {
        /// The slope on the negative side.
        slope = 0.01
    } "leaky_relu" "lrelu", f::leaky_relu, f::leaky_relu_derivative;
    /// Leaky ReLU whose slope is random for each element in training and the mean of the bounds
    /// in evaluation (Xu et al., 2015).
    RRelu {
        /// The smallest slope.
        lower = 1.0 / 8.0,
        /// The largest slope.
        upper = 1.0 / 3.0
    } "rrelu",
        |x, lower, upper| f::leaky_relu(x, 0.5 * (lower + upper)),
        |x, lower, upper| f::leaky_relu_derivative(x, 0.5 * (lower + upper));
    /// Leaky ReLU whose slope is learned, one for each channel (He et al., 2015).
    PRelu {
        /// The slope's initial value.
        init = 0.25
    } "prelu", f::leaky_relu, f::leaky_relu_derivative;
    /// Leaky ReLU whose slope is learned, one for all channels (He et al., 2015).
    PReluShared {
        /// The slope's initial value.
        init = 0.25
    } "prelu_shared", f::leaky_relu, f::leaky_relu_derivative;
    /// Three straight lines whose thresholds and slopes are learned for each channel (Jin et
    /// al., 2016).
    SRelu {
        /// The initial threshold at which the left line ends.
        left_threshold = 0.0,
        /// The initial slope of the left line.
        left_slope = 0.2,
        /// The initial threshold at which the right line starts.
        right_threshold = 1.0,
        /// The initial slope of the right line.
        right_slope = 1.0
    } "srelu", f::srelu, f::srelu_derivative;
    /// x where positive, alpha (e^x - 1) elsewhere (Clevert et al., 2016).
    Elu {
        /// The negative of the limit on the left.
        alpha = 1.0
    } "elu", |x, a| f::elu(x, 1.0, a, 1.0), |x, a| f::elu_derivative(x, 1.0, a, 1.0);
    /// x where positive, alpha (e^(x / alpha) - 1) elsewhere (Barron, 2017).
    Celu {
        /// The negative of the limit on the left.
        alpha = 1.0
    } "celu", |x, a: f64| f::elu(x, 1.0, a, a.recip()),
        |x, a: f64| f::elu_derivative(x, 1.0, a, a.recip());
    /// ELU, scaled so that it keeps a mean of 0 and a variance of 1 (Klambauer et al., 2017).
    Selu "selu", |x| f::elu(x, f::SELU_SCALE, f::SELU_ALPHA, 1.0),
        |x| f::elu_derivative(x, f::SELU_SCALE, f::SELU_ALPHA, 1.0);
    /// ln(1 + e^(beta x)) / beta (Dugas et al., 2001).
    Softplus {
        /// How sharp the bend is.
        beta = 1.0
    } "softplus", |x: f64, b: f64| f::softplus(b * x) / b, |x: f64, b: f64| f::sigmoid(b * x);
    /// x outside of [-lambda, lambda], 0 inside.
    HardShrink {
        /// Half the width of the dead zone.
        lambda = 0.5
    } "hard_shrink" "hardshrink", f::hard_shrink, f::shrink_derivative;
    /// x moved towards 0 by lambda, 0 inside of [-lambda, lambda].
    SoftShrink {
        /// Half the width of the dead zone.
        lambda = 0.5
    } "soft_shrink" "softshrink", f::soft_shrink, f::shrink_derivative;
    /// x - tanh(x)
    TanhShrink "tanh_shrink" "tanhshrink", f::tanh_shrink, |x: f64| x.tanh() * x.tanh();
    /// x kept between two bounds.
    Hardtanh {
        /// The lower bound.
        min = -1.0,
        /// The upper bound.
        max = 1.0
    } "hardtanh" "hard_tanh", f::hardtanh, f::hardtanh_derivative;
    /// ln(sigmoid(x))
    LogSigmoid "log_sigmoid" "logsigmoid", |x: f64| -f::softplus(-x),
        |x: f64| f::sigmoid(-x);
    /// 1 / (1 + e^-x)
    Sigmoid "sigmoid" "logistic", f::sigmoid, f::sigmoid_derivative;
    /// min(max(x + 3, 0), 6) / 6
    HardSigmoid "hard_sigmoid" "hardsigmoid", f::hard_sigmoid, f::hard_sigmoid_derivative;
    /// The hyperbolic tangent.
    Tanh "tanh", f64::tanh, f::tanh_derivative;
    /// tanh(x) where positive, a multiple of it elsewhere (Xu et al., 2016).
    PenalizedTanh {
        /// The factor on the negative side.
        alpha = 0.25
    } "penalized_tanh", |x: f64, a| f::leaky_relu(x.tanh(), a),
        |x, a| f::tanh_derivative(x) * f::leaky_relu_derivative(x, a);
    /// x / (1 + |x|)
    Softsign "softsign", f::softsign, |x: f64| (1.0 + x.abs()).powi(-2);
    /// (1 + e^(-beta x))^-alpha (Patwardhan et al., 2018).
    Aria2 {
        /// The exponent.
        alpha = 1.0,
        /// The rate of growth.
        beta = 1.5
    } "aria2" "aria-2" "aria_2", f::aria2, f::aria2_derivative;
    /// (sqrt(x^2 + 1) - 1) / 2 + x
    BentIdentity "bent_identity", f::bent_identity,
        f::bent_identity_derivative;
    /// A square on either side of 0, up to the bounds -1 and 1 (Wuraola and Patel, 2018).
    Sqnl "sqnl", f::sqnl, f::sqnl_derivative;
    /// x sigmoid(x) where positive, (e^x - 1) sigmoid(x) elsewhere (Basirat and Roth, 2018).
    Elish "elish", f::elish, f::elish_derivative;
    /// ELiSH with min(max((x + 1) / 2, 0), 1) in place of the sigmoid.
    HardElish "hard_elish" "hardelish", f::hard_elish, f::hard_elish_derivative;
    /// x / sqrt(1 + alpha x^2) (Carlile et al., 2017).
    Isru {
        /// The inverse square of the limit.
        alpha = 1.0
    } "isru", f::isru, f::isru_derivative;
    /// x where positive, ISRU elsewhere (Carlile et al., 2017).
    Isrlu {
        /// The inverse square of the limit on the left.
        alpha = 1.0
    } "isrlu", |x, a| if x >= 0.0 { x } else { f::isru(x, a) },
        |x, a| if x >= 0.0 { 1.0 } else { f::isru_derivative(x, a) };
    /// x sigmoid(x) + T where positive, T elsewhere (Chieng et al., 2018).
    FlattenTSwish {
        /// The threshold T.
        threshold = -0.2
    } "flatten_t_swish" "fts", |x, t| if x >= 0.0 { f::silu(x) + t } else { f::constant(x, t) },
        |x, _| if x >= 0.0 { f::silu_derivative(x) } else { f::constant(x, 0.0) };
    /// x where positive, epsilon (sin x - cos x) elsewhere (Rodrigues, 2018).
    SineRelu {
        /// The amplitude on the negative side.
        epsilon = 0.0025
    } "sine_relu" "sinerelu", |x: f64, e| if x > 0.0 { x } else { e * (x.sin() - x.cos()) },
        |x: f64, e| if x > 0.0 { 1.0 } else { e * (x.cos() + x.sin()) };
    /// tanh(weight x)
    WeightedTanh {
        /// The factor of x.
        weight = 1.0
    } "weighted_tanh", |x: f64, w: f64| (w * x).tanh(),
        |x: f64, w: f64| w * f::tanh_derivative(w * x);
    /// 1.7159 tanh(2 x / 3) (LeCun et al., 1998).
    LecunTanh "lecun_tanh", |x: f64| 1.7159 * (2.0 / 3.0 * x).tanh(),
        |x: f64| 1.7159 * 2.0 / 3.0 * f::tanh_derivative(2.0 / 3.0 * x);
    /// ln((1 + e^(alpha x)) / (1 + e^(alpha (x - 1)))) / alpha (Klimek and Perelstein, 2020).
    SoftClipping {
        /// How sharp the two bends are.
        alpha = 0.5
    } "soft_clipping", f::soft_clipping, f::soft_clipping_derivative;
    /// x where above a threshold, 0 elsewhere (Konda et al., 2015).
    ThresholdedRelu {
        /// The threshold.
        theta = 1.0
    } "thresholded_relu", |x, t| if x <= t { 0.0 } else { x },
        |x, t| if x <= t { 0.0 } else { f::constant(x, 1.0) };
    /// x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
    HardSwish "hard_swish" "hardswish", f::hard_swish, f::hard_swish_derivative;
    /// x min(max(x + 2, 0), 2) / 2
    HardMish "hard_mish" "hardmish", f::hard_mish, f::hard_mish_derivative;
}

impl Activation {
    /// Whether a layer with this activation has learnable parameters.
    pub fn is_learnable(&self) -> bool {
        matches!(
            self,
            Self::PRelu { .. } | Self::PReluShared { .. } | Self::SRelu { .. }
        )
    }

    /// The condition that the parameters do not meet, if there is one.
    pub(crate) fn violation(&self) -> Option<&'static str> {
        match *self {
            Self::Celu { alpha: 0.0 } => Some("alpha must not be 0"),
            Self::Softplus { beta } if beta <= 0.0 => Some("beta must be positive"),
            Self::SoftClipping { alpha } if alpha <= 0.0 => Some("alpha must be positive"),
            Self::Isru { alpha } | Self::Isrlu { alpha } if alpha < 0.0 => {
                Some("alpha must not be negative")
            }
            Self::HardShrink { lambda } | Self::SoftShrink { lambda } if lambda < 0.0 => {
                Some("lambda must not be negative")
            }
            Self::Hardtanh { min, max } if min >= max => Some("min must be less than max"),
            Self::RRelu { lower, upper } if !(upper - lower).is_finite() => {
                Some("the range from lower to upper must be finite")
            }
            Self::RRelu { lower, upper } if lower > upper => {
                Some("lower must not be greater than upper")
            }
            Self::SRelu {
                left_threshold,
                right_threshold,
                ..
            } if left_threshold > right_threshold => {
                Some("the left threshold must not be greater than the right one")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        let default = Self::all().find(|other| other.name() == self.name());
        if default == Some(*self) {
            return Ok(());
        }
        for (index, (_, value)) in self.parameters().into_iter().enumerate() {
            let separator = if index == 0 { ':' } else { ',' };
            write!(formatter, "{separator}{value}")?;
        }
        Ok(())
    }
}

impl FromStr for Activation {
    type Err = ParseActivationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, parameters) = match text.split_once(':') {
            Some((name, parameters)) => (name, Some(parameters)),
            None => (text, None),
        };
        let wanted = name.trim().to_ascii_lowercase();
        let matches = |a: &Self| a.name() == wanted || a.aliases().contains(&wanted.as_str());
        let default = Self::all()
            .find(matches)
            .ok_or_else(|| ParseActivationError::Unknown {
                name: name.to_string(),
                suggestion: suggest(&wanted, names()).map(str::to_string),
            })?;
        let Some(parameters) = parameters else {
            return Ok(default);
        };
        let name = default.name();
        let mut values = Vec::new();
        for text in parameters.split(',') {
            let value: Option<f64> = text.trim().parse().ok().filter(|v: &f64| v.is_finite());
            values.push(value.ok_or_else(|| ParseActivationError::NotANumber {
                name,
                text: text.to_string(),
            })?);
        }
        let taken = default.parameters().len();
        if values.len() > taken {
            return Err(ParseActivationError::TooManyParameters {
                name,
                taken,
                given: values.len(),
            });
        }
        let activation = default.with_parameters(&values);
        match activation.violation() {
            None => Ok(activation),
            Some(requirement) => Err(ParseActivationError::OutOfRange { name, requirement }),
        }
    }
}

/// All names and aliases.
fn names() -> impl Iterator<Item = &'static str> {
    Activation::all().flat_map(|a| std::iter::once(a.name()).chain(a.aliases().iter().copied()))
}

impl TryFrom<candle_nn::Activation> for Activation {
    type Error = ParseActivationError;

    /// The activation that computes the same function, with the same parameter.
    ///
    /// This is `TryFrom` rather than `From` because two variants have no counterpart here: `Relu2`
    /// is not in the table, and `Swiglu` halves an axis, so it is not a function of single values.
    ///
    /// # Errors
    /// [`ParseActivationError::Unknown`] for `Relu2` and `Swiglu`.
    fn try_from(activation: candle_nn::Activation) -> Result<Self, Self::Error> {
        use candle_nn::Activation as Candle;
        Ok(match activation {
            Candle::Gelu => Self::Gelu,
            Candle::NewGelu | Candle::GeluPytorchTanh => Self::GeluTanh,
            Candle::Relu => Self::Relu,
            Candle::Relu6 => Self::Relu6,
            Candle::Silu | Candle::Swish => Self::Silu,
            Candle::Sigmoid => Self::Sigmoid,
            Candle::HardSigmoid => Self::HardSigmoid,
            Candle::Mish => Self::Mish,
            Candle::HardSwish => Self::HardSwish,
            Candle::Elu(alpha) => Self::Elu { alpha },
            Candle::LeakyRelu(slope) => Self::LeakyRelu { slope },
            Candle::Relu2 | Candle::Swiglu => {
                return Err(ParseActivationError::Unknown {
                    name: format!("{activation:?}"),
                    suggestion: None,
                });
            }
        })
    }
}

serde_as_text!(Activation);
