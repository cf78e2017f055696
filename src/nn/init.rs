//! How weights start.

use candle_nn::Init;

use crate::activation::Activation;

/// How the weight of a convolution or a linear layer is drawn before training. A bias starts at
/// zero, but as the weight under [`WeightInit::Default`].
///
/// The fan-in is the number of inputs of one output; the fan-out the number of outputs of one
/// input: kernel times output channels of its group, as timm counts it for depthwise convolutions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum WeightInit {
    /// Uniform in ±1/sqrt(fan-in): what PyTorch's layers do when nothing else is said.
    #[default]
    Default,
    /// Normal with a standard deviation of gain / sqrt(fan-out), as torchvision and timm
    /// initialise most convolutional networks (He et al., 2015, section 2.2). The gain is that of
    /// the activation that follows.
    KaimingFanOut {
        /// What keeps the variance through the activation: sqrt(2) for ReLU.
        gain: f64,
    },
    /// Normal with a standard deviation of gain / sqrt(fan-in).
    KaimingFanIn {
        /// As of [`WeightInit::KaimingFanOut`].
        gain: f64,
    },
    /// Normal with this standard deviation.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Uniform in ±1/sqrt(fan-out): the classifier of EfficientNet.
    UniformFanOut,
}

impl WeightInit {
    /// The distributions of the weight and of the bias.
    pub(super) fn distributions(self, fan_in: usize, fan_out: usize) -> (Init, Init) {
        let uniform = |fan: usize| {
            let bound = 1.0 / (fan as f64).sqrt();
            Init::Uniform {
                lo: -bound,
                up: bound,
            }
        };
        let normal = |stdev| Init::Randn { mean: 0.0, stdev };
        let weight = match self {
            Self::Default => return (uniform(fan_in), uniform(fan_in)),
            Self::KaimingFanOut { gain } => normal(gain / (fan_out as f64).sqrt()),
            Self::KaimingFanIn { gain } => normal(gain / (fan_in as f64).sqrt()),
            Self::Normal { std } => normal(std),
            Self::UniformFanOut => uniform(fan_out),
        };
        (weight, Init::Const(0.0))
    }
}

/// 1 / sqrt(E[f(z)²]) for z standard normal: what weights are scaled by so that the output of
/// the activation has mean square one (He et al., "Delving Deep into Rectifiers", 2015, section
/// 2.2, for any f). sqrt(2) for ReLU; PyTorch tabulates a few rounded ones.
///
/// One where the activation is zero almost everywhere or its values are not finite.
pub fn gain(activation: &Activation) -> f64 {
    // Simpson's rule over ±12 standard deviations, beyond which the normal density is below
    // 1e-31; the step is fine enough for kinks to cost less than 1e-6.
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
