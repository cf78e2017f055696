//! Makes the layers of a network at the paths of its checkpoint.

use candle_core::{Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{
    self, Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNormAct, DropPath, Dropout, Linear,
    SqueezeExcite, SqueezeExciteConfig, WeightInit, gain,
};
use candle_mish::ops::add;
use candle_nn::{Module, ModuleT, VarBuilder};

use crate::context::{BuildContext, Statistics};
use crate::recomputed::Recomputed;
use crate::spec::{CIFAR_SIZE, ModelSpec};
use crate::used::{Choice, Used};

/// Makes layers below one path of a network's checkpoint, with the network's activation, its
/// initialisation and its batch-norm constants.
#[derive(Clone)]
pub(crate) struct Layers<'a> {
    /// The network.
    pub spec: &'a ModelSpec,
    /// How to build it.
    pub context: &'a BuildContext,
    /// The variables at this path.
    pub vb: VarBuilder<'a>,
    /// The options that the layers made so far used.
    pub used: Used,
    activation: Activation,
    /// `None` without [`Layers::dropout`].
    drop_rate: Option<f64>,
    conv_init: WeightInit,
    /// The initialisation of the classifier.
    pub head_init: WeightInit,
    zero_init_last: bool,
    zero_norms: bool,
    fixed_norm_scales: bool,
    eps: f64,
    momentum: f64,
}

impl<'a> Layers<'a> {
    /// The root of a network: PyTorch's batch norm and classifier, and convolutions initialised
    /// for the activation.
    pub fn new(spec: &'a ModelSpec, context: &'a BuildContext, vb: VarBuilder<'a>) -> Self {
        Self {
            spec,
            context,
            vb,
            used: Used::default(),
            activation: spec.activation,
            drop_rate: Some(spec.drop_rate),
            conv_init: WeightInit::KaimingFanOut {
                gain: gain(&spec.activation),
            },
            head_init: WeightInit::Default,
            zero_init_last: false,
            zero_norms: false,
            fixed_norm_scales: false,
            eps: spec.bn_eps.unwrap_or(1e-5),
            momentum: spec.bn_momentum.unwrap_or(0.1),
        }
    }

    /// Below `name`.
    pub fn pp(&self, name: impl ToString) -> Self {
        Self {
            vb: self.vb.pp(name),
            ..self.clone()
        }
    }

    /// With other batch-norm constants, unless the spec sets them.
    pub fn with_norm(self, eps: f64, momentum: f64) -> Self {
        Self {
            eps: self.spec.bn_eps.unwrap_or(eps),
            momentum: self.spec.bn_momentum.unwrap_or(momentum),
            ..self
        }
    }

    /// With another initialisation of the convolutions.
    pub fn with_conv_init(self, conv_init: WeightInit) -> Self {
        Self { conv_init, ..self }
    }

    /// With another initialisation of the classifier.
    pub fn with_head_init(self, head_init: WeightInit) -> Self {
        Self { head_init, ..self }
    }

    /// With batch norms whose scales are not trained.
    pub fn with_fixed_norm_scales(self) -> Self {
        Self {
            fixed_norm_scales: true,
            ..self
        }
    }

    /// Without [`Layers::dropout`].
    pub fn without_dropout(self) -> Self {
        Self {
            drop_rate: None,
            ..self
        }
    }

    /// If `zero_init_last`, the scale of the last batch norm of each residual branch starts at
    /// zero: timm's option.
    pub fn with_zero_init_last(self, zero_init_last: bool) -> Self {
        Self {
            zero_init_last,
            ..self
        }
    }

    /// The last layers of a residual branch.
    pub fn last(&self) -> Self {
        Self {
            zero_norms: self.zero_init_last,
            ..self.clone()
        }
    }

    /// A convolution, initialised for the network's activation unless `config` has an
    /// initialisation.
    pub fn conv(&self, inputs: usize, outputs: usize, config: Conv2dConfig) -> Result<Conv2d> {
        let config = match config.init {
            WeightInit::Default => config.init(self.conv_init),
            _ => config,
        };
        let conv = nn::conv2d(inputs, outputs, config, self.vb.clone())?
            .with_fp32_precision(self.context.fp32_precision);
        Ok(match self.context.constant {
            true => conv
                .with_constant_weight()
                .with_memory_format(self.context.memory_format),
            false => conv,
        })
    }

    /// A batch norm.
    pub fn norm(&self, channels: usize) -> Result<BatchNorm2d> {
        self.used.note(Choice::BatchNorm);
        let vb = self.vb.clone();
        let norm = match self.zero_norms {
            true => nn::batch_norm2d_zero(channels, vb)?,
            false => nn::batch_norm2d(channels, vb)?,
        };
        let norm = norm.with_eps(self.eps).with_momentum(self.momentum);
        let norm = match self.fixed_norm_scales {
            true => norm.with_fixed_weight(),
            false => norm,
        };
        let norm = match &self.context.sync_bn {
            Some(processes) => norm.with_processes(processes.clone()),
            None => norm,
        };
        let norm = match self.context.constant {
            true => norm.with_constant_statistics(),
            false => norm,
        };
        Ok(match self.context.statistics {
            Statistics::Exponential => norm,
            Statistics::Cumulative => norm.with_cumulative_statistics(),
        })
    }

    /// The network's activation or its replacement, with its learned parameters at this path.
    pub fn act(&self, channels: usize) -> Result<Act> {
        let new = |activation| {
            let generator = &self.context.generator;
            nn::act(activation, channels, self.vb.clone(), generator)
        };
        let path = self.vb.prefix();
        let own = self
            .spec
            .layer_activations
            .get(&path)
            .unwrap_or(self.activation);
        match self
            .context
            .swap
            .as_ref()
            .filter(|swap| swap.applies_to(&path))
        {
            Some(swap) => match &swap.blend {
                Some(blend) => Ok(new(&own)?.blended(new(&swap.at(&path))?, blend.at(&path))),
                None => new(&swap.at(&path)),
            },
            None => new(&own),
        }
    }

    /// The spec's gate, or else the logistic function, at this path.
    pub fn gate(&self, channels: usize) -> Result<Act> {
        self.used.note(Choice::Gate);
        let gate = self.spec.gate.unwrap_or(Activation::Sigmoid);
        nn::act(&gate, channels, self.vb.clone(), &self.context.generator)
    }

    /// Convolution, norm and activation at the paths `names`, such as (`conv1`, `bn1`, `act1`).
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

    /// Convolution and norm without activation at the paths `names`, such as (`0`, `1`) of a
    /// projecting shortcut.
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

    /// The end of a residual branch, at paths as in [`Layers::conv_norm_act`].
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
            drop_path: DropPath::new(0.0, &self.context.generator)?,
            act: self.pp(act).act(outputs)?,
        })
    }

    /// Norm, activation and convolution at the paths `names`, such as (`bn1`, `act1`, `conv1`).
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

    /// Squeeze-and-excitation. The spec's gate replaces the gate of `config`. The weights have
    /// PyTorch's default initialisation. timm scales it by their small fan-out: the gate then
    /// starts saturated and learns more slowly.
    pub fn squeeze_excite(
        &self,
        channels: usize,
        config: SqueezeExciteConfig,
    ) -> Result<SqueezeExcite> {
        self.used.note(Choice::Gate);
        let config = SqueezeExciteConfig {
            activation: self.spec.activation,
            gate: self.spec.gate.unwrap_or(config.gate),
            ..config
        };
        let generator = &self.context.generator;
        let [_, act, _] = config.keys;
        let act = self.pp(act).act(config.hidden_channels(channels))?;
        let layer =
            nn::squeeze_excite(channels, &config, self.vb.clone(), generator)?.with_act(act);
        Ok(match self.context.constant {
            true => layer.with_constant_weights(),
            false => layer,
        })
    }

    /// A linear layer.
    pub fn linear(&self, inputs: usize, outputs: usize) -> Result<Linear> {
        nn::linear(inputs, outputs, self.vb.clone())
    }

    /// Stochastic depth of residual block `block` of `blocks`. Call it only for a block that uses it.
    pub fn drop_path(&self, block: usize, blocks: usize) -> Result<DropPath> {
        let share = block as f64 / blocks.saturating_sub(1).max(1) as f64;
        if share > 0.0 {
            self.used.note(Choice::DropPath);
        }
        DropPath::new(self.spec.drop_path_rate * share, &self.context.generator)
    }

    /// A block of a stage, with gradient checkpointing if the context asks for it.
    pub fn block<B>(&self, block: B) -> Recomputed<B> {
        self.used.note(Choice::GradCheckpointing);
        let context = self.context;
        let generator = context
            .grad_checkpointing
            .then(|| context.generator.clone());
        Recomputed::new(block, generator)
    }

    /// Dropout with the spec's rate.
    pub fn dropout(&self) -> Result<Dropout> {
        self.dropout_of(1.0)
    }

    /// Dropout with a share of the spec's rate.
    pub fn dropout_of(&self, share: f64) -> Result<Dropout> {
        if self.drop_rate.is_some() {
            self.used.note(Choice::Drop);
        }
        let rate = share * self.drop_rate.unwrap_or(0.0);
        Dropout::new(rate, &self.context.generator)
    }

    /// The height and width of the images, for a network that takes one size only.
    pub fn img_size(&self) -> usize {
        self.spec.img_size.unwrap_or(CIFAR_SIZE)
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
    /// With squeeze-and-excitation before the sum.
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

    /// The block's output from the branch's features `x` and the shortcut's output.
    pub fn forward(&self, x: &Tensor, shortcut: &Tensor, train: bool) -> Result<Tensor> {
        let Self {
            conv, norm, act, ..
        } = self;
        if self.squeeze_excite.is_none() && !self.drop_path.is_active(train) {
            return norm.forward_conv(conv, x, Some(shortcut), act, train);
        }
        let mut y = norm.forward_t(&conv.forward(x)?, train)?;
        if let Some(squeeze_excite) = &self.squeeze_excite {
            if !self.drop_path.is_active(train) {
                return squeeze_excite.forward_add_act(&y, shortcut, act, train);
            }
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
    /// act(norm(x)), which a projecting shortcut can share.
    pub fn pre(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.norm.forward_act(x, None, &self.act, train)
    }

    /// Only the convolution.
    pub fn conv(&self, x: &Tensor) -> Result<Tensor> {
        self.conv.forward(x)
    }

    /// This layer after only the convolution of `previous`. In evaluation, that convolution and the
    /// norm are one op.
    pub fn after_conv(&self, previous: &Self, x: &Tensor, train: bool) -> Result<Tensor> {
        let Self { norm, act, conv } = self;
        conv.forward(&norm.forward_conv(&previous.conv, x, None, act, train)?)
    }
}

impl ModuleT for NormActConv {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.conv(&self.pre(x, train)?)
    }
}
