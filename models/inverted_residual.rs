//! The backbone of MobileNet and EfficientNet: a convolution, stages of blocks with a depthwise
//! convolution, and a 1x1 convolution.
//!
//! The inverted residual is from Sandler et al., "MobileNetV2: Inverted Residuals and Linear
//! Bottlenecks" (2018, arXiv:1801.04381), section 3.3, and the block with channel attention from
//! Tan et al., "MnasNet" (2018, arXiv:1807.11626), figure 7. Paths and shapes are timm's.

use candle_core::{Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::nn::{
    Conv2dConfig, ConvNormAct, DropPath, SqueezeExcite, SqueezeExciteConfig, WeightInit, gain,
};
use candle_mish::ops::{add, global_avg_pool2d, pad};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::groups::{BLOCK, GroupMatcher, STEM, WITH_LAST_BLOCK};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

/// The layers of both families for layer-wise learning rates.
pub(crate) const GROUPS: GroupMatcher = &[
    ("conv_stem.", STEM),
    ("bn1.", STEM),
    ("blocks.#.#.", BLOCK),
    ("conv_head.", WITH_LAST_BLOCK),
    ("bn2.", WITH_LAST_BLOCK),
];

/// The block that a stage repeats.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// A depthwise separable convolution: a depthwise and a 1x1 convolution, both with an
    /// activation, without a shortcut. MobileNet v1.
    Separable,
    /// A 1x1 convolution to `expansion` times the channels (none if that is 1), a depthwise one,
    /// and a 1x1 one without an activation (the linear bottleneck). It has a shortcut if input and
    /// output have the same shape.
    Inverted {
        /// The channels inside a block over its input channels.
        expansion: usize,
        /// Whether channel attention follows the depthwise convolution. Its hidden layer has a
        /// quarter of the channels of the block's input.
        squeeze_excite: bool,
    },
}

/// A row of a network's table. Only the first block has the stride.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    /// The block.
    pub unit: Unit,
    /// Height and width of the depthwise kernels.
    pub kernel: usize,
    /// Output channels of every block.
    pub channels: usize,
    /// The number of blocks.
    pub repeats: usize,
    /// The stride of the first block.
    pub stride: usize,
}

/// A network without its classifier.
pub(crate) struct Plan<'a> {
    /// Output channels of the first convolution, whose stride is 2, or 1 for CIFAR images.
    pub stem: usize,
    /// The blocks.
    pub stages: &'a [Stage],
    /// The stages whose last map [`Model::feature_maps`] can return. In the ImageNet form, they are
    /// the last stages of each resolution.
    pub maps: [usize; 5],
    /// Output channels of the 1x1 convolution after the blocks, if there is one.
    pub head: Option<usize>,
    /// The padding of strided convolutions.
    pub padding: Padding,
}

/// The padding of strided convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// PyTorch's: half of the kernel on each side.
    Symmetric,
    /// TensorFlow's `SAME`: as many zeros as the output needs, of an odd number one more at the
    /// end.
    Same,
}

/// A convolution with its padding.
struct PaddedConv {
    /// The kernel size and the stride of a convolution with [`Padding::Same`], which has none of its
    /// own.
    same: Option<(usize, usize)>,
    layer: ConvNormAct,
}

impl PaddedConv {
    /// At the paths `names`, as [`Layers::conv_norm_act`].
    fn new(
        names: (&str, &str, &str),
        (inputs, outputs): (usize, usize),
        config: Conv2dConfig,
        padding: Padding,
        layers: &Layers,
    ) -> Result<Self> {
        let (kernel, stride) = (config.kernel_size.0, config.stride.0);
        // Without a stride both are equal.
        let same = (padding == Padding::Same && stride > 1).then_some((kernel, stride));
        let config = match same {
            Some(_) => config.padding(0),
            None => config,
        };
        let layer = layers.conv_norm_act(names, inputs, outputs, config)?;
        Ok(Self { same, layer })
    }
}

impl ModuleT for PaddedConv {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let Some((kernel, stride)) = self.same else {
            return self.layer.forward_t(x, train);
        };
        let mut x = x.clone();
        for axis in [2, 3] {
            let size = x.dim(axis)?;
            let covered = (size.div_ceil(stride).max(1) - 1) * stride + kernel;
            let zeros = covered.saturating_sub(size);
            x = pad(&x, axis, zeros / 2, zeros.div_ceil(2))?;
        }
        self.layer.forward_t(&x, train)
    }
}

/// One block of a stage.
struct Block {
    expand: Option<ConvNormAct>,
    depthwise: PaddedConv,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvNormAct,
    /// Stochastic depth, if the block has a shortcut.
    shortcut: Option<DropPath>,
}

impl Block {
    fn new(
        inputs: usize,
        stage: &Stage,
        stride: usize,
        padding: Padding,
        (block, blocks): (usize, usize),
        layers: &Layers,
    ) -> Result<Self> {
        let (outputs, conv1x1) = (stage.channels, Conv2dConfig::same(1));
        let depthwise = |names, channels| {
            let config = Conv2dConfig::same(stage.kernel).stride(stride);
            let config = config.groups(channels);
            PaddedConv::new(names, (channels, channels), config, padding, layers)
        };
        let (expansion, squeeze_excite) = match stage.unit {
            Unit::Separable => {
                let names = ("conv_pw", "bn2", "bn2.act");
                return Ok(Self {
                    expand: None,
                    depthwise: depthwise(("conv_dw", "bn1", "bn1.act"), inputs)?,
                    squeeze_excite: None,
                    project: layers.conv_norm_act(names, inputs, outputs, conv1x1)?,
                    shortcut: None,
                });
            }
            Unit::Inverted {
                expansion,
                squeeze_excite,
            } => (expansion, squeeze_excite),
        };
        let width = inputs * expansion;
        // timm numbers the norms in their order and calls the only 1x1 convolution `conv_pw`.
        let (expand, depthwise, last) = if expansion == 1 {
            let depthwise = depthwise(("conv_dw", "bn1", "bn1.act"), width)?;
            (None, depthwise, ("conv_pw", "bn2"))
        } else {
            let names = ("conv_pw", "bn1", "bn1.act");
            let expand = layers.conv_norm_act(names, inputs, width, conv1x1)?;
            let depthwise = depthwise(("conv_dw", "bn2", "bn2.act"), width)?;
            (Some(expand), depthwise, ("conv_pwl", "bn3"))
        };
        let attention = SqueezeExciteConfig {
            rd_channels: Some((inputs / 4).max(1)),
            gate: Activation::Sigmoid,
            keys: ["conv_reduce", "act1", "conv_expand"],
            ..SqueezeExciteConfig::default()
        };
        let attention = squeeze_excite.then(|| layers.pp("se").squeeze_excite(width, attention));
        let shortcut = stride == 1 && inputs == outputs;
        let shortcut = shortcut.then(|| layers.drop_path(block, blocks));
        Ok(Self {
            expand,
            depthwise,
            squeeze_excite: attention.transpose()?,
            project: layers.conv_norm(last, width, outputs, conv1x1)?,
            shortcut: shortcut.transpose()?,
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut y = match &self.expand {
            Some(expand) => self
                .depthwise
                .forward_t(&expand.forward_t(x, train)?, train)?,
            None => self.depthwise.forward_t(x, train)?,
        };
        if let Some(squeeze_excite) = &self.squeeze_excite {
            y = squeeze_excite.forward_t(&y, train)?;
        }
        match &self.shortcut {
            None => self.project.forward_t(&y, train),
            Some(drop_path) if drop_path.is_active(train) => {
                let y = self.project.forward_t(&y, train)?;
                add(&drop_path.forward_t(&y, train)?, x)
            }
            Some(_) => self.project.forward_add(&y, x, train),
        }
    }
}

struct Network {
    stem: PaddedConv,
    stages: Vec<Vec<Recomputed<Block>>>,
    maps: [usize; 5],
    head: Option<ConvNormAct>,
}

/// Builds the network of `plan` below `root`.
pub(crate) fn build(plan: &Plan, root: Layers) -> Result<Box<dyn Model>> {
    let gain = gain(&root.spec.activation);
    let layers = root
        .with_conv_init(WeightInit::KaimingFanOutOfGroup { gain })
        .with_head_init(WeightInit::UniformFanOut);
    let stride = match layers.spec.stem {
        Stem::Cifar => 1,
        Stem::ImageNet => 2,
    };
    let mut inputs = plan.stem;
    let stem = PaddedConv::new(
        ("conv_stem", "bn1", "bn1.act"),
        (layers.spec.in_chans, inputs),
        Conv2dConfig::same(3).stride(stride),
        plan.padding,
        &layers,
    )?;
    let total: usize = plan.stages.iter().map(|stage| stage.repeats).sum();
    let (mut built, mut reduction) = (0, stride);
    let mut info = Vec::with_capacity(plan.maps.len());
    let mut stages = Vec::with_capacity(plan.stages.len());
    for (index, stage) in plan.stages.iter().enumerate() {
        let layers = layers.pp("blocks").pp(index);
        let mut blocks = Vec::with_capacity(stage.repeats);
        for block in 0..stage.repeats {
            let stride = if block == 0 { stage.stride } else { 1 };
            // timm's builder divides by the number of blocks here, so that the last block stays
            // below the full rate.
            let place = (built, total + 1);
            let layers = layers.pp(block);
            let padding = plan.padding;
            let block = Block::new(inputs, stage, stride, padding, place, &layers)?;
            blocks.push(layers.block(block));
            built += 1;
            reduction *= stride;
            inputs = stage.channels;
        }
        stages.push(blocks);
        if plan.maps.contains(&index) {
            info.push(FeatureInfo::new(
                inputs,
                reduction,
                format!("blocks.{index}"),
            ));
        }
    }
    let mut head = None;
    if let Some(outputs) = plan.head {
        let names = ("conv_head", "bn2", "bn2.act");
        head = Some(layers.conv_norm_act(names, inputs, outputs, Conv2dConfig::same(1))?);
        inputs = outputs;
    }
    let network = Network {
        stem,
        stages,
        maps: plan.maps,
        head,
    };
    Classifier::boxed(network, info, inputs, "classifier", &layers)
}

impl Backbone for Network {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        for (index, stage) in self.stages.iter().enumerate() {
            for block in stage {
                x = block.forward_t(&x, train)?;
            }
            if self.maps.contains(&index) {
                taps.offer(&x);
            }
        }
        if let Some(head) = &self.head {
            x = head.forward_t(&x, train)?;
        }
        global_avg_pool2d(&x)
    }
}
