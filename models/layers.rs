//! The layers of a network, made with its options at paths of its checkpoint.

use candle_core::{Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{
    self, Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNormAct, DropPath, Dropout, Linear,
    LinearConfig, SqueezeExcite, SqueezeExciteConfig, WeightInit, gain,
};
use candle_mish::ops::add;
use candle_nn::{Module, ModuleT, VarBuilder};

use crate::Options;

/// Makes layers below one path of a network's checkpoint, with the network's activation, its
/// initialisation and the constants of its batch norms.
#[derive(Clone)]
pub(crate) struct Layers<'a> {
    /// What the user chose.
    pub options: &'a Options,
    vb: VarBuilder<'a>,
    activation: Activation,
    conv_init: WeightInit,
    head_init: WeightInit,
    zero_init_last: bool,
    zero_norms: bool,
    eps: f64,
    momentum: f64,
}

impl<'a> Layers<'a> {
    /// The root of a network: the activation of `options`, PyTorch's batch norm and classifier,
    /// and convolutions that start as the activation asks.
    pub fn new(options: &'a Options, vb: VarBuilder<'a>) -> Self {
        Self {
            options,
            vb,
            activation: options.activation,
            conv_init: WeightInit::KaimingFanOut {
                gain: gain(&options.activation),
            },
            head_init: WeightInit::Default,
            zero_init_last: false,
            zero_norms: false,
            eps: 1e-5,
            momentum: 0.1,
        }
    }

    /// Below `name`.
    pub fn pp(&self, name: impl ToString) -> Self {
        Self {
            vb: self.vb.pp(name),
            ..self.clone()
        }
    }

    /// With other constants of the batch norms.
    pub fn with_norm(self, eps: f64, momentum: f64) -> Self {
        Self {
            eps,
            momentum,
            ..self
        }
    }

    /// With other initial weights of the convolutions.
    pub fn with_conv_init(self, conv_init: WeightInit) -> Self {
        Self { conv_init, ..self }
    }

    /// With other initial weights of the classifier.
    pub fn with_head_init(self, head_init: WeightInit) -> Self {
        Self { head_init, ..self }
    }

    /// With residual branches that start at zero where `zero_init_last`: timm's word for it.
    pub fn with_zero_init_last(self, zero_init_last: bool) -> Self {
        Self {
            zero_init_last,
            ..self
        }
    }

    /// For the last layers of a residual branch.
    pub fn last(&self) -> Self {
        Self {
            zero_norms: self.zero_init_last,
            ..self.clone()
        }
    }

    /// A convolution here, initialised for the network's activation unless `config` says
    /// otherwise.
    pub fn conv(&self, inputs: usize, outputs: usize, config: Conv2dConfig) -> Result<Conv2d> {
        let config = match config.init {
            WeightInit::Default => config.init(self.conv_init),
            _ => config,
        };
        nn::conv2d(inputs, outputs, config, self.vb.clone())
    }

    /// A batch norm here.
    pub fn norm(&self, channels: usize) -> Result<BatchNorm2d> {
        let vb = self.vb.clone();
        let norm = match self.zero_norms {
            true => nn::batch_norm2d_zero(channels, vb)?,
            false => nn::batch_norm2d(channels, vb)?,
        };
        let norm = norm.with_eps(self.eps).with_momentum(self.momentum);
        if self.options.cumulative_statistics {
            return Ok(norm.with_cumulative_statistics());
        }
        Ok(norm)
    }

    /// The network's activation, or the one swapped in; what it learns is here.
    pub fn act(&self, channels: usize) -> Result<Act> {
        let new = |activation| {
            let generator = &self.options.generator;
            nn::act(activation, channels, self.vb.clone(), generator)
        };
        match &self.options.swap {
            Some(swap) if swap.reaches(&self.vb.prefix()) => match &swap.blend {
                Some(blend) => Ok(new(&self.activation)?.blended(new(&swap.to)?, blend.clone())),
                None => new(&swap.to),
            },
            _ => new(&self.activation),
        }
    }

    /// Convolution, norm and activation at `names` below here: (`conv1`, `bn1`, `act1`) and the
    /// like.
    pub fn conv_norm_act(
        &self,
        (conv, norm, act): (&str, &str, &str),
        inputs: usize,
        outputs: usize,
        config: Conv2dConfig,
    ) -> Result<ConvNormAct> {
        Ok(ConvNormAct::new(
            self.pp(conv).conv(inputs, outputs, config)?,
            self.pp(norm).norm(outputs)?,
            self.pp(act).act(outputs)?,
        ))
    }

    /// Convolution and norm without an activation at `names` below here, such as a projecting
    /// shortcut's `0` and `1`.
    pub fn conv_norm(
        &self,
        (conv, norm): (&str, &str),
        inputs: usize,
        outputs: usize,
        config: Conv2dConfig,
    ) -> Result<ConvNormAct> {
        let none = Act::new(&Activation::Identity)?;
        Ok(ConvNormAct::new(
            self.pp(conv).conv(inputs, outputs, config)?,
            self.pp(norm).norm(outputs)?,
            none,
        ))
    }

    /// The last convolution of a residual branch with what follows it, at names as in
    /// [`Layers::conv_norm_act`].
    pub fn residual_conv(
        &self,
        (conv, norm, act): (&str, &str, &str),
        inputs: usize,
        outputs: usize,
        config: Conv2dConfig,
    ) -> Result<ResidualConv> {
        Ok(ResidualConv {
            conv: self.pp(conv).conv(inputs, outputs, config)?,
            norm: self.last().pp(norm).norm(outputs)?,
            squeeze_excite: None,
            drop_path: DropPath::new(0.0, &self.options.generator)?,
            act: self.pp(act).act(outputs)?,
        })
    }

    /// Norm and activation in front of a convolution: (`bn1`, `act1`, `conv1`) and the like.
    pub fn norm_act_conv(
        &self,
        (norm, act, conv): (&str, &str, &str),
        inputs: usize,
        outputs: usize,
        config: Conv2dConfig,
    ) -> Result<NormActConv> {
        Ok(NormActConv {
            norm: self.pp(norm).norm(inputs)?,
            act: self.pp(act).act(inputs)?,
            conv: self.pp(conv).conv(inputs, outputs, config)?,
        })
    }

    /// Squeeze-and-excitation here; the user's gate goes before that of `config`. Its weights start
    /// as PyTorch's do, not by their few outputs as in timm, with which it begins saturated and learns
    /// more slowly.
    pub fn squeeze_excite(
        &self,
        channels: usize,
        config: SqueezeExciteConfig,
    ) -> Result<SqueezeExcite> {
        let config = SqueezeExciteConfig {
            activation: self.options.activation,
            gate: self.options.gate.unwrap_or(config.gate),
            ..config
        };
        let generator = &self.options.generator;
        let layer = nn::squeeze_excite(channels, &config, self.vb.clone(), generator)?;
        let [_, act, _] = config.keys;
        let act = self.pp(act).act(config.hidden_channels(channels))?;
        Ok(layer.with_act(act))
    }

    /// A linear layer here.
    pub fn linear(&self, inputs: usize, outputs: usize) -> Result<Linear> {
        nn::linear(inputs, outputs, self.vb.clone())
    }

    /// The linear layer here that makes logits.
    pub fn classifier(&self, inputs: usize, bias: bool) -> Result<Linear> {
        let outputs = self.options.num_classes;
        let config = LinearConfig {
            bias,
            init: self.head_init,
        };
        nn::linear_with(inputs, outputs, config, self.vb.clone())
    }

    /// Stochastic depth of residual block `block` out of `blocks`.
    pub fn drop_path(&self, block: usize, blocks: usize) -> Result<DropPath> {
        let share = block as f64 / blocks.saturating_sub(1).max(1) as f64;
        DropPath::new(self.options.drop_path_rate * share, &self.options.generator)
    }

    /// Dropout of the user's rate.
    pub fn dropout(&self) -> Result<Dropout> {
        Dropout::new(self.options.drop_rate, &self.options.generator)
    }
}

/// The end of a residual block: act(drop_path(se(norm(conv(x)))) + shortcut).
pub(crate) struct ResidualConv {
    conv: Conv2d,
    norm: BatchNorm2d,
    squeeze_excite: Option<SqueezeExcite>,
    drop_path: DropPath,
    act: Act,
}

impl ResidualConv {
    /// With channel attention in front of the sum.
    pub fn with_squeeze_excite(self, squeeze_excite: Option<SqueezeExcite>) -> Self {
        Self {
            squeeze_excite,
            ..self
        }
    }

    /// With stochastic depth.
    pub fn with_drop_path(self, drop_path: DropPath) -> Self {
        Self { drop_path, ..self }
    }

    /// The block's output, of `x`, the inner features, and what the shortcut gives.
    pub fn forward(&self, x: &Tensor, shortcut: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.conv.forward(x)?;
        if self.squeeze_excite.is_none() && !self.drop_path.is_active(train) {
            return self.norm.forward_act(&y, Some(shortcut), &self.act, train);
        }
        let mut y = self.norm.forward_t(&y, train)?;
        if let Some(squeeze_excite) = &self.squeeze_excite {
            y = squeeze_excite.forward_t(&y, train)?;
        }
        let y = self.drop_path.forward_t(&y, train)?;
        self.act.forward_t(&add(&y, shortcut)?, train)
    }
}

/// Norm, activation, convolution: the order of pre-activation networks.
pub(crate) struct NormActConv {
    norm: BatchNorm2d,
    act: Act,
    conv: Conv2d,
}

impl NormActConv {
    /// act(norm(x)), which a projecting shortcut may share.
    pub fn pre(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.norm.forward_act(x, None, &self.act, train)
    }

    /// The convolution alone.
    pub fn conv(&self, x: &Tensor) -> Result<Tensor> {
        self.conv.forward(x)
    }
}

impl ModuleT for NormActConv {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.conv(&self.pre(x, train)?)
    }
}
