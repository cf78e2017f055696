//! ResNet in its ImageNet form, and variants that change only its blocks.
//!
//! - ResNet: He et al., "Deep Residual Learning for Image Recognition" (2015, arXiv:1512.03385),
//!   table 1. The 3x3 convolution of a bottleneck has the stride, as in torchvision and timm. In
//!   the paper it is the first 1x1 convolution.
//! - Wide ResNet: Zagoruyko, Komodakis, "Wide Residual Networks" (2016, arXiv:1605.07146),
//!   table 8: bottlenecks with twice the width.
//! - ResNeXt: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks" (2016,
//!   arXiv:1611.05431), table 1: grouped 3x3 convolutions.
//! - SE-ResNet: Hu et al., "Squeeze-and-Excitation Networks" (2017, arXiv:1709.01507), figure 3:
//!   channel attention before each block's sum.
//!
//! A 7x7 convolution with stride 2 and a max pool, four stages of residual blocks with 64, 128, 256
//! and 512 channels (four times that after a bottleneck), global average pooling and a classifier.
//! For 32x32 images the first convolution is 3x3 with stride 1 and there is no max pool, as in the
//! usual CIFAR ports, so that the stages work at 32x32, 16x16, 8x8 and 4x4. The keys are timm's in
//! both forms.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, DropPath, MaxPool2d, SqueezeExciteConfig};
use candle_mish::ops::{Pool2dParams, global_avg_pool2d, max_pool2d, pad};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::layers::{Layers, ResidualConv};
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::{Shortcut, Stem};

pub(crate) const GROUPS: GroupMatcher = &[
    ("conv1.", STEM),
    ("bn1.", STEM),
    ("act1.", STEM),
    ("layer#.#.", BLOCK),
];

const fn resnet(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "resnet", "arXiv:1512.03385", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
}

const fn wide(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "wide_resnet", "arXiv:1605.07146", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
}

const fn resnext(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "resnext", "arXiv:1611.05431", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
}

const fn senet(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "senet", "arXiv:1709.01507", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
        // timm's `SEModule` has a ReLU of its own.
        .without_act_layer("*.se.act=relu")
}

pub(crate) const ENTRIES: [Entry; 5] = [
    resnet(
        "resnet18",
        (11_220_132, 555_468_800),
        (11_689_512, 1_814_073_344),
        |root| RESNET18.build(root),
    ),
    resnet(
        "resnet34",
        (21_328_292, 1_159_448_576),
        (21_797_672, 3_663_761_408),
        |root| RESNET34.build(root),
    ),
    resnet(
        "resnet50",
        (23_705_252, 1_298_014_208),
        (25_557_032, 4_089_184_256),
        |root| RESNET50.build(root),
    ),
    resnet(
        "resnet101",
        (42_697_380, 2_510_168_064),
        (44_549_160, 7_801_405_440),
        |root| {
            Architecture {
                blocks: &[3, 4, 23, 3],
                ..RESNET50
            }
            .build(root)
        },
    ),
    resnet(
        "resnet152",
        (58_341_028, 3_722_321_920),
        (60_192_808, 11_513_626_624),
        |root| {
            Architecture {
                blocks: &[3, 8, 36, 3],
                ..RESNET50
            }
            .build(root)
        },
    ),
];

pub(crate) const WIDE_ENTRIES: [Entry; 1] = [wide(
    "wide_resnet50_2",
    (67_031_460, 3_684_573_184),
    (68_883_240, 11_398_021_120),
    |root| {
        Architecture {
            base_width: 128,
            ..RESNET50
        }
        .build(root)
    },
)];

pub(crate) const RESNEXT_ENTRIES: [Entry; 1] = [resnext(
    "resnext50_32x4d",
    (23_177_124, 1_344_151_552),
    (25_028_904, 4_230_479_872),
    |root| {
        Architecture {
            groups: 32,
            base_width: 4,
            ..RESNET50
        }
        .build(root)
    },
)];

pub(crate) const SENET_ENTRIES: [Entry; 3] = [
    senet(
        "seresnet18",
        (11_310_244, 555_556_864),
        (11_779_624, 1_814_161_408),
        |root| RESNET18.with_attention().build(root),
    ),
    senet(
        "seresnet34",
        (21_491_036, 1_159_607_296),
        (21_960_416, 3_663_920_128),
        |root| RESNET34.with_attention().build(root),
    ),
    senet(
        "seresnet50",
        (26_236_244, 1_300_529_152),
        (28_088_024, 4_091_699_200),
        |root| RESNET50.with_attention().build(root),
    ),
];

/// A row of the papers' tables.
#[derive(Clone, Copy)]
pub(crate) struct Architecture {
    /// The convolutions of a block.
    kind: Kind,
    /// The channels of the first convolution and stage. Each further stage doubles them.
    channels: usize,
    /// The number of blocks of each stage.
    blocks: &'static [usize],
    /// The groups of a bottleneck's 3x3 convolution: ResNeXt's cardinality.
    groups: usize,
    /// The channels of a group in the first stage.
    base_width: usize,
    /// Whether blocks have channel attention before the sum.
    attention: bool,
    /// Whether the last norm of each block starts at zero.
    zero_init_last: bool,
}

/// The convolutions of a block.
#[derive(Clone, Copy)]
enum Kind {
    /// Two of 3x3.
    Basic,
    /// 1x1, 3x3 and 1x1, the last to four times the channels.
    Bottleneck,
}

const RESNET18: Architecture = Architecture {
    zero_init_last: true,
    ..Architecture::basic(64, &[2, 2, 2, 2])
};
const RESNET34: Architecture = Architecture {
    blocks: &[3, 4, 6, 3],
    ..RESNET18
};
const RESNET50: Architecture = Architecture {
    kind: Kind::Bottleneck,
    ..RESNET34
};

impl Architecture {
    /// Basic blocks.
    pub const fn basic(channels: usize, blocks: &'static [usize]) -> Self {
        Self {
            kind: Kind::Basic,
            channels,
            blocks,
            groups: 1,
            base_width: 64,
            attention: false,
            zero_init_last: false,
        }
    }

    /// Adds channel attention: SE-ResNet.
    const fn with_attention(self) -> Self {
        Self {
            attention: true,
            ..self
        }
    }

    /// The network below `root`.
    pub fn build(&self, root: Layers) -> Result<Box<dyn Model>> {
        let layers = root.with_zero_init_last(self.zero_init_last);
        let (first, pool) = match layers.spec.stem {
            Stem::Cifar => (Conv2dConfig::same(3), None),
            Stem::ImageNet => {
                let pool = Pool2dParams::new((3, 3))
                    .with_stride((2, 2))
                    .with_padding((1, 1));
                (Conv2dConfig::same(7).stride(2), Some(MaxPool2d::new(pool)))
            }
        };
        let names = ("conv1", "bn1", "act1");
        let stem = layers.conv_norm_act(names, layers.spec.in_chans, self.channels, first)?;
        let [stem_reduction, first_reduction] = match layers.spec.stem {
            Stem::Cifar => [1, 1],
            Stem::ImageNet => [2, 4],
        };
        let mut info = vec![FeatureInfo::new(self.channels, stem_reduction, "act1")];
        let total = self.blocks.iter().sum();
        let (mut built, mut inputs) = (0, self.channels);
        let mut stages = Vec::with_capacity(self.blocks.len());
        for (stage, &count) in self.blocks.iter().enumerate() {
            let name = format!("layer{}", stage + 1);
            let layers = layers.pp(&name);
            let mut blocks = Vec::with_capacity(count);
            for i in 0..count {
                let position = Position {
                    inputs,
                    channels: self.channels << stage,
                    stride: if stage > 0 && i == 0 { 2 } else { 1 },
                    drop_path: layers.drop_path(built, total)?,
                };
                let (block, outputs) = Block::new(self, position, &layers.pp(i))?;
                blocks.push(layers.block(block));
                built += 1;
                inputs = outputs;
            }
            stages.push(blocks);
            info.push(FeatureInfo::new(inputs, first_reduction << stage, name));
        }
        let network = ResNet { stem, pool, stages };
        Classifier::boxed(network, info, inputs, "fc", &layers)
    }
}

/// The shape of a block and its stochastic depth.
struct Position {
    inputs: usize,
    channels: usize,
    stride: usize,
    drop_path: DropPath,
}

/// Convolutions and the shortcut around them.
struct Block {
    inner: Vec<ConvNormAct>,
    last: ResidualConv,
    shortcut: ShortcutLayer,
}

/// The shortcut of a block.
enum ShortcutLayer {
    Identity,
    /// Option B.
    Projection(Box<ConvNormAct>),
    /// Option A.
    ZeroPad {
        stride: usize,
        /// The new channels before the old ones, and after them.
        channels: (usize, usize),
    },
}

impl ShortcutLayer {
    /// From `inputs` to `outputs` channels.
    fn new(inputs: usize, outputs: usize, stride: usize, layers: &Layers) -> Result<Self> {
        if stride == 1 && inputs == outputs {
            return Ok(Self::Identity);
        }
        Ok(match layers.spec.shortcut {
            Shortcut::A => {
                let channels = outputs.saturating_sub(inputs);
                Self::ZeroPad {
                    stride,
                    channels: (channels / 2, channels.div_ceil(2)),
                }
            }
            Shortcut::B => {
                let conv1x1 = Conv2dConfig::same(1).stride(stride);
                let layers = layers.pp("downsample");
                let layer = layers.conv_norm(("0", "1"), inputs, outputs, conv1x1)?;
                Self::Projection(Box::new(layer))
            }
        })
    }
}

impl ModuleT for ShortcutLayer {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Projection(layer) => layer.forward_t(x, train),
            Self::ZeroPad {
                stride,
                channels: (before, after),
            } => {
                // The maximum of one value.
                let every = Pool2dParams::new((1, 1)).with_stride((*stride, *stride));
                pad(&max_pool2d(x, &every)?, 1, *before, *after)
            }
        }
    }
}

impl Block {
    /// The block at `layers`, and its output channels.
    fn new(
        architecture: &Architecture,
        position: Position,
        layers: &Layers,
    ) -> Result<(Self, usize)> {
        let Position {
            inputs,
            channels,
            stride,
            drop_path,
        } = position;
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        let (first, second) = (("conv1", "bn1", "act1"), ("conv2", "bn2", "act2"));
        let (inner, last, outputs) = match architecture.kind {
            Kind::Basic => {
                let inner =
                    layers.conv_norm_act(first, inputs, channels, conv3x3.stride(stride))?;
                let last = layers.residual_conv(second, channels, channels, conv3x3)?;
                (vec![inner], last, channels)
            }
            Kind::Bottleneck => {
                let groups = architecture.groups;
                let width = channels * architecture.base_width / 64 * groups;
                let outputs = 4 * channels;
                let grouped = conv3x3.stride(stride).groups(groups);
                let inner = vec![
                    layers.conv_norm_act(first, inputs, width, conv1x1)?,
                    layers.conv_norm_act(second, width, width, grouped)?,
                ];
                let third = ("conv3", "bn3", "act3");
                let last = layers.residual_conv(third, width, outputs, conv1x1)?;
                (inner, last, outputs)
            }
        };
        let attention = if architecture.attention {
            let config = SqueezeExciteConfig::default();
            Some(layers.pp("se").squeeze_excite(outputs, config)?)
        } else {
            None
        };
        let block = Self {
            inner,
            last: last
                .with_squeeze_excite(attention)
                .with_drop_path(drop_path),
            shortcut: ShortcutLayer::new(inputs, outputs, stride, layers)?,
        };
        Ok((block, outputs))
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let shortcut = self.shortcut.forward_t(x, train)?;
        let mut y = x.clone();
        for layer in &self.inner {
            y = layer.forward_t(&y, train)?;
        }
        self.last.forward(&y, &shortcut, train)
    }
}

struct ResNet {
    stem: ConvNormAct,
    pool: Option<MaxPool2d>,
    stages: Vec<Vec<Recomputed<Block>>>,
}

impl Backbone for ResNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        taps.offer(&x);
        if let Some(pool) = &self.pool {
            x = pool.forward(&x)?;
        }
        for stage in &self.stages {
            for block in stage {
                x = block.forward_t(&x, train)?;
            }
            taps.offer(&x);
        }
        global_avg_pool2d(&x)
    }
}
