//! Initialisers for all weights of a network, by name.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Result, Shape, Tensor};
use rand::Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::orthogonal::orthonormal_columns;
use crate::serde_text::serde_as_text;
use crate::suggest::suggest;

/// A distribution of initial weights, under the names of Keras and PyTorch.
///
/// The families differ in their standard deviation, for gain g and the fans of PyTorch:
///
/// | family | standard deviation |
/// | --- | --- |
/// | LeCun (LeCun et al., "Efficient BackProp", 1998) | g / sqrt(fan-in) |
/// | Glorot or Xavier (Glorot, Bengio, 2010) | g sqrt(2 / (fan-in + fan-out)) |
/// | He or Kaiming (He et al., 2015) | g / sqrt(fan-in) |
///
/// Fan-in is the size of the weight without its first axis, fan-out the size without its second. A
/// depthwise 3x3 convolution of C channels has a fan-in of 9 and a fan-out of 9 C.
///
/// A uniform distribution of standard deviation s has the bounds ± sqrt(3) s. Keras truncates its
/// normal distributions at two standard deviations and widens them first, so that the result has the
/// standard deviation above. PyTorch's `xavier_normal` and `kaiming_normal` are not truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Initialiser {
    /// Normal with standard deviation 0.05.
    RandomNormal,
    /// Uniform in ±0.05.
    RandomUniform,
    /// Normal with standard deviation 0.05, truncated at ±0.1.
    TruncatedNormal,
    /// Rows or columns, whichever are fewer, are orthogonal with norm g (Saxe et al., "Exact
    /// solutions to the nonlinear dynamics of learning", 2014). A convolution is a matrix with one
    /// row for each output channel.
    Orthogonal,
    /// LeCun, truncated normal.
    LecunNormal,
    /// LeCun, uniform.
    LecunUniform,
    /// Glorot, truncated normal.
    GlorotNormal,
    /// Glorot, uniform; also called `xavier_uniform`.
    GlorotUniform,
    /// He, truncated normal.
    HeNormal,
    /// He, uniform; also called `kaiming_uniform`.
    HeUniform,
    /// Glorot, normal.
    XavierNormal,
    /// He, normal.
    KaimingNormal,
}

/// The standard deviation or bound of the `random` family and of `truncated_normal` in Keras.
const RANDOM: f64 = 0.05;
/// The standard deviation of a standard normal distribution truncated at ±2.
const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

impl Initialiser {
    /// All initialisers with their names.
    pub const ALL: [(&'static str, Self); 12] = [
        ("random_normal", Self::RandomNormal),
        ("random_uniform", Self::RandomUniform),
        ("truncated_normal", Self::TruncatedNormal),
        ("orthogonal", Self::Orthogonal),
        ("lecun_normal", Self::LecunNormal),
        ("lecun_uniform", Self::LecunUniform),
        ("glorot_normal", Self::GlorotNormal),
        ("glorot_uniform", Self::GlorotUniform),
        ("he_normal", Self::HeNormal),
        ("he_uniform", Self::HeUniform),
        ("xavier_normal", Self::XavierNormal),
        ("kaiming_normal", Self::KaimingNormal),
    ];

    const ALIASES: [(&'static str, Self); 2] = [
        ("xavier_uniform", Self::GlorotUniform),
        ("kaiming_uniform", Self::HeUniform),
    ];

    /// Whether the gain has an effect.
    pub fn takes_gain(self) -> bool {
        !matches!(
            self,
            Self::RandomNormal | Self::RandomUniform | Self::TruncatedNormal
        )
    }

    /// Whether it is of the He family, which takes the gain of the activation.
    pub fn is_he(self) -> bool {
        matches!(self, Self::HeNormal | Self::HeUniform | Self::KaimingNormal)
    }

    /// The distribution of a weight with these dimensions: [outputs, inputs, …].
    pub fn distribution(self, dims: &[usize], gain: f64) -> WeightDistribution {
        use WeightDistribution::{Normal, Orthogonal, TruncatedNormal, Uniform};
        let (fan_in, fan_out) = fans(dims);
        let uniform = |std: f64| Uniform {
            bound: 3f64.sqrt() * std,
        };
        let truncated = |std: f64| {
            let std = std / TRUNCATED_STD;
            TruncatedNormal {
                std,
                bound: 2.0 * std,
            }
        };
        let by_fan_in = gain / fan_in.sqrt();
        let by_both = gain * (2.0 / (fan_in + fan_out)).sqrt();
        match self {
            Self::RandomNormal => Normal { std: RANDOM },
            Self::RandomUniform => Uniform { bound: RANDOM },
            Self::TruncatedNormal => TruncatedNormal {
                std: RANDOM,
                bound: 2.0 * RANDOM,
            },
            Self::Orthogonal => Orthogonal { gain },
            Self::LecunNormal | Self::HeNormal => truncated(by_fan_in),
            Self::LecunUniform | Self::HeUniform => uniform(by_fan_in),
            Self::GlorotNormal => truncated(by_both),
            Self::GlorotUniform => uniform(by_both),
            Self::XavierNormal => Normal { std: by_both },
            Self::KaimingNormal => Normal { std: by_fan_in },
        }
    }
}

/// The fans of a weight as `torch.nn.init` counts them.
fn fans(dims: &[usize]) -> (f64, f64) {
    let taps: f64 = dims.iter().skip(2).map(|size| *size as f64).product();
    let [outputs, inputs] = [0, 1].map(|axis| dims.get(axis).map_or(1.0, |size| *size as f64));
    ((inputs * taps).max(1.0), (outputs * taps).max(1.0))
}

impl fmt::Display for Initialiser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.iter().find(|(_, other)| other == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl FromStr for Initialiser {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut known = Self::ALL.iter().chain(&Self::ALIASES);
        if let Some((_, initialiser)) = known.find(|(name, _)| *name == text) {
            return Ok(*initialiser);
        }
        let names = Self::ALL
            .iter()
            .chain(&Self::ALIASES)
            .map(|(name, _)| *name);
        let advice = match suggest(text, names.clone()) {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("one of {}", names.collect::<Vec<_>>().join(", ")),
        };
        Err(format!("unknown initialiser '{text}'; {advice}"))
    }
}

serde_as_text!(Initialiser);

/// The distribution of the values of one weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightDistribution {
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Normal with mean 0; values beyond the bound are drawn again.
    TruncatedNormal {
        /// The standard deviation before truncation.
        std: f64,
        /// The largest absolute value.
        bound: f64,
    },
    /// Uniform in ±bound.
    Uniform {
        /// The largest absolute value.
        bound: f64,
    },
    /// Orthogonal rows or columns.
    Orthogonal {
        /// Their norm.
        gain: f64,
    },
}

impl WeightDistribution {
    /// Draws a weight on the CPU, in f64.
    ///
    /// # Errors
    /// If a product of matrices fails.
    pub(super) fn draw(self, shape: &Shape, rng: &mut impl Rng) -> Result<Tensor> {
        let count = shape.elem_count();
        let mut normal = || -> f64 { StandardNormal.sample(&mut *rng) };
        let values: Vec<f64> = match self {
            Self::Normal { std } => (0..count).map(|_| std * normal()).collect(),
            Self::TruncatedNormal { std, bound } => {
                let limit = bound / std;
                let mut truncated = || loop {
                    let value = normal();
                    if value.abs() <= limit {
                        return std * value;
                    }
                };
                (0..count).map(|_| truncated()).collect()
            }
            Self::Uniform { bound } => (0..count)
                .map(|_| bound * (2.0 * rng.random::<f64>() - 1.0))
                .collect(),
            Self::Orthogonal { gain } => {
                let rows = shape.dims().first().copied().unwrap_or(1);
                let columns = count / rows.max(1);
                let values: Vec<f64> = (0..count).map(|_| normal()).collect();
                let matrix = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
                let matrix = if rows < columns {
                    orthonormal_columns(&matrix.t()?)?.t()?
                } else {
                    orthonormal_columns(&matrix)?
                };
                return (matrix * gain)?.contiguous()?.reshape(shape);
            }
        };
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(DType::F64)
    }
}

/// An initialiser with its gain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Initialisation {
    /// The initialiser.
    pub initialiser: Initialiser,
    /// Multiplies the standard deviation, where [`Initialiser::takes_gain`].
    pub gain: f64,
}

impl Initialisation {
    /// The distribution of a weight with these dimensions.
    pub fn distribution(&self, dims: &[usize]) -> WeightDistribution {
        self.initialiser.distribution(dims, self.gain)
    }
}
