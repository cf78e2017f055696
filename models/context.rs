//! The build-time settings of a network that are not part of its [`ModelSpec`](crate::ModelSpec).

use std::sync::Arc;

use candle_mish::activation::{Activation, LayerActivations};
use candle_mish::nn::LayerBlends;
use candle_mish::ops::{AllReduce, Fp32Precision, MemoryFormat};
use candle_mish::pattern::matches;
use candle_mish::rng::Generator;

/// What [`crate::create_with`] needs besides a [`crate::ModelSpec`].
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The random generator of dropout, stochastic depth and RReLU in training.
    pub generator: Generator,
    /// A replacement of the activation, in all layers or in some.
    pub swap: Option<Swap>,
    /// How batch norms update their running statistics.
    pub statistics: Statistics,
    /// Gradient checkpointing, timm's `set_grad_checkpointing`: in training, the backward pass
    /// computes the activations of each block again. It takes less memory and more time, and gives
    /// the same result, bit for bit. [`check_options`](crate::check_options) refuses networks
    /// without blocks.
    pub grad_checkpointing: bool,
    /// Synchronised batch norms, timm's `--sync-bn`: in training, their statistics cover
    /// the batches of all these processes.
    pub sync_bn: Option<Arc<dyn AllReduce>>,
    /// Promises that no weight and no running statistic changes from the first evaluation on. The
    /// layers then arrange their weights once for their algorithms, and keep the result.
    pub constant: bool,
    /// How convolutions multiply f32.
    pub fp32_precision: Fp32Precision,
    /// The order in which convolutions of constant weights prefer to write their outputs. Channels
    /// last is faster on the CPU, and changes the logits by rounding.
    pub memory_format: MemoryFormat,
}

impl Default for BuildContext {
    fn default() -> Self {
        Self {
            generator: Generator::new(0),
            swap: None,
            statistics: Statistics::default(),
            grad_checkpointing: false,
            sync_bn: None,
            constant: false,
            fp32_precision: Fp32Precision::Ieee,
            memory_format: MemoryFormat::Contiguous,
        }
    }
}

/// How batch norms update their running statistics in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    /// An exponential moving average, as PyTorch's default.
    #[default]
    Exponential,
    /// The mean over all batches, to recalibrate trained weights: PyTorch's `momentum=None`.
    Cumulative,
}

/// An activation that replaces a network's own.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The new activation.
    pub to: Activation,
    /// Patterns for the paths of the activation layers to replace, such as `layer1.0.act1` or
    /// `layer2*`, where `*` matches any characters. If empty, all are replaced.
    pub layers: Vec<String>,
    /// The replacements of layers that differ from `to`, such as constants fitted to a layer.
    pub fitted: LayerActivations,
    /// A gradual change from the old to the new activation. `None` replaces it at once.
    pub blend: Option<LayerBlends>,
}

impl Swap {
    /// The replacement at `path`, a layer that the swap [applies to](Self::applies_to).
    pub(crate) fn at(&self, path: &str) -> Activation {
        self.fitted.get(path).unwrap_or(self.to)
    }

    /// Whether the swap replaces the activation layer at `path`.
    pub fn applies_to(&self, path: &str) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|pattern| matches(pattern, path))
    }
}
