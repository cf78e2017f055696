//! Initial weights.

use candle_nn::Init;

use crate::activation::Activation;

/// The distribution of the initial weight of a convolution or a linear layer. The bias starts at
/// zero, except with [`WeightInit::Default`], which draws it like the weight.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum WeightInit {
    /// Uniform in ±1/sqrt(fan-in): the default of PyTorch's layers.
    #[default]
    Default,
    /// Normal with a standard deviation of gain / sqrt(fan-out), as torchvision and timm
    /// initialise most convolutional networks (He et al., 2015, section 2.2).
    KaimingFanOut {
        /// The gain of the activation that follows: sqrt(2) for ReLU, [`gain()`] for others.
        gain: f64,
    },
    /// As [`WeightInit::KaimingFanOut`] with the fan-out of a group, as timm initialises MobileNet and
    /// EfficientNet.
    KaimingFanOutOfGroup {
        /// As for [`WeightInit::KaimingFanOut`].
        gain: f64,
    },
    /// Normal with a standard deviation of gain / sqrt(fan-in).
    KaimingFanIn {
        /// As for [`WeightInit::KaimingFanOut`].
        gain: f64,
    },
    /// Uniform with a standard deviation of gain / sqrt(fan-in).
    KaimingUniform {
        /// As for [`WeightInit::KaimingFanOut`].
        gain: f64,
    },
    /// Normal with a given standard deviation.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Uniform in ±1/sqrt(fan-in), as in the classifier of DenseNet.
    UniformFanIn,
    /// Uniform in ±1/sqrt(fan-out), as in the classifier of EfficientNet.
    UniformFanOut,
}

/// The fans of a weight, as PyTorch counts them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fans {
    /// The inputs of one output: the size of the weight without its first axis.
    pub fan_in: usize,
    /// The size of the weight without its second axis.
    pub fan_out: usize,
    /// The outputs of one input.
    pub fan_out_of_group: usize,
}

impl WeightInit {
    /// The distributions of the weight and of the bias.
    pub(super) fn distributions(self, fans: Fans) -> (Init, Init) {
        let by = |fan: usize| 1.0 / (fan as f64).sqrt();
        let (fan_in, fan_out) = (by(fans.fan_in), by(fans.fan_out));
        let uniform = |bound: f64| Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let normal = |stdev| Init::Randn { mean: 0.0, stdev };
        let weight = match self {
            Self::Default => return (uniform(fan_in), uniform(fan_in)),
            Self::KaimingFanOut { gain } => normal(gain * fan_out),
            Self::KaimingFanOutOfGroup { gain } => normal(gain * by(fans.fan_out_of_group)),
            Self::KaimingFanIn { gain } => normal(gain * fan_in),
            Self::KaimingUniform { gain } => uniform(3f64.sqrt() * gain * fan_in),
            Self::Normal { std } => normal(std),
            Self::UniformFanIn => uniform(fan_in),
            Self::UniformFanOut => uniform(fan_out),
        };
        (weight, Init::Const(0.0))
    }
}

/// The gain of an activation f: 1 / sqrt(E[f(z)²]) for z standard normal. Weights scaled by it
/// give the activation's output a mean square of one (He et al., "Delving Deep into Rectifiers",
/// 2015, section 2.2, generalised to any f). It is sqrt(2) for ReLU; PyTorch tabulates a few
/// rounded values.
///
/// It is 1 if the activation is zero almost everywhere or has values that are not finite.
pub fn gain(activation: &Activation) -> f64 {
    // Simpson's rule over ±12 standard deviations: beyond them the normal density is below 1e-31.
    // With this step a kink adds an error below 1e-6.
    const STEPS: usize = 9600;
    const BOUND: f64 = 12.0;
    let h = 2.0 * BOUND / STEPS as f64;
    let term = |i: usize| {
        let z = -BOUND + i as f64 * h;
        let weight = match i {
            0 | STEPS => 1.0,
            _ if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * activation.value(z).powi(2) * (-0.5 * z * z).exp()
    };
    let integral: f64 = (0..=STEPS).map(term).sum::<f64>() * h / 3.0;
    let mean_square = integral / (2.0 * std::f64::consts::PI).sqrt();
    let gain = mean_square.sqrt().recip();
    if gain.is_finite() { gain } else { 1.0 }
}
