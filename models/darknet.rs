//! DarkNet-53: Redmon, Farhadi, "YOLOv3: An Incremental Improvement" (2018, arXiv:1804.02767),
//! section 2.4; and CSPNet, where half of the channels bypass the blocks of a stage: Wang et al.,
//! "CSPNet: A New Backbone that can Enhance Learning Capability of CNN" (2019, arXiv:1911.11929),
//! figure 2 and table 1.
//!
//! Structure and keys are timm's, which expands the channels in one 1x1 convolution and then
//! splits them. The papers use Leaky ReLU with slope 0.1, timm with 0.01.
//!
//! For 32x32 images the first convolution of a CSP-ResNe(X)t is 3x3 with stride 1 and no pooling
//! follows; the first stage of a DarkNet has stride 1.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, DropPath, WeightInit};
use candle_mish::ops::{Pool2dParams, add, cat, global_avg_pool2d, max_pool2d, narrow};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher, Place, STEM, WITH_BLOCK};
use crate::layers::{Layers, ResidualConv};
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

const fn variant(
    name: &'static str,
    paper: &'static str,
    cifar: Size,
    imagenet: Size,
    build: Build,
) -> Entry {
    Entry::new(name, "darknet", paper, cifar, build)
        .imagenet(256, imagenet)
        .groups(GROUPS)
}

/// A stage's first convolutions join its first block, its transitions the last.
const GROUPS: GroupMatcher = &[
    ("stem.", STEM),
    ("stages.#.blocks.#.", BLOCK),
    ("stages.#.conv_transition", WITH_BLOCK),
    ("stages.#.", &[Place::At(1), Place::Numbers, Place::At(0)]),
];

pub(crate) const ENTRIES: [Entry; 4] = [
    variant(
        "darknet53",
        "arXiv:1804.02767",
        (40_687_428, 577_703_936),
        (41_609_928, 9_285_115_904),
        |root| build(&DARKNET53, root),
    ),
    variant(
        "cspdarknet53",
        CSP,
        (26_719_684, 405_737_472),
        (27_642_184, 6_533_652_480),
        |root| build(&CSPDARKNET53, root),
    ),
    variant(
        "cspresnet50",
        CSP,
        (20_685_988, 1_092_390_912),
        (21_616_168, 4_517_240_832),
        |root| build(&CSPRESNET50, root),
    ),
    variant(
        "cspresnext50",
        CSP,
        (18_718_116, 966_664_192),
        (20_569_896, 4_014_948_352),
        |root| build(&CSPRESNEXT50, root),
    ),
];

const CSP: &str = "arXiv:1911.11929";

/// A network of this family.
struct Config {
    blocks: BlockKind,
    /// Whether half of a stage's channels bypass its blocks: CSPNet.
    cross: bool,
    stages: &'static [StageConfig],
}

/// The kind of block, which also determines how a stage begins.
#[derive(Clone, Copy)]
enum BlockKind {
    /// 1x1 and 3x3. Every stage begins with a 3x3 convolution of stride 2 to its output channels.
    Dark,
    /// 1x1, 3x3 in `groups` and 1x1, as in ResNet. Every stage but the first begins with a 3x3
    /// convolution of stride 2 that keeps the channels, and the channels are split before the
    /// activation.
    Bottleneck { groups: usize },
}

struct StageConfig {
    depth: usize,
    outputs: usize,
    /// Input and output channels of a block.
    width: usize,
    /// Channels inside a block.
    inner: usize,
}

const fn stage(depth: usize, outputs: usize, width: usize, inner: usize) -> StageConfig {
    StageConfig {
        depth,
        outputs,
        width,
        inner,
    }
}

const DARKNET53: Config = Config {
    blocks: BlockKind::Dark,
    cross: false,
    stages: &[
        stage(1, 64, 64, 32),
        stage(2, 128, 128, 64),
        stage(8, 256, 256, 128),
        stage(8, 512, 512, 256),
        stage(4, 1024, 1024, 512),
    ],
};

const CSPDARKNET53: Config = Config {
    blocks: BlockKind::Dark,
    cross: true,
    stages: &[
        stage(1, 64, 64, 32),
        stage(2, 128, 64, 64),
        stage(8, 256, 128, 128),
        stage(8, 512, 256, 256),
        stage(4, 1024, 512, 512),
    ],
};

const CSPRESNET50: Config = Config {
    blocks: BlockKind::Bottleneck { groups: 1 },
    cross: true,
    stages: &[
        stage(3, 128, 128, 64),
        stage(3, 256, 256, 128),
        stage(5, 512, 512, 256),
        stage(2, 1024, 1024, 512),
    ],
};

const CSPRESNEXT50: Config = Config {
    blocks: BlockKind::Bottleneck { groups: 32 },
    cross: true,
    stages: &[
        stage(3, 256, 128, 128),
        stage(3, 512, 256, 256),
        stage(5, 1024, 512, 512),
        stage(2, 2048, 1024, 1024),
    ],
};

/// Convolution, norm and activation at `conv`, `bn` and `bn.act`.
fn conv(inputs: usize, outputs: usize, config: Conv2dConfig, at: &Layers) -> Result<ConvNormAct> {
    at.conv_norm_act(("conv", "bn", "bn.act"), inputs, outputs, config)
}

/// Convolutions and a shortcut around them.
enum Block {
    Dark([ConvNormAct; 2], DropPath),
    Bottleneck([ConvNormAct; 2], Box<ResidualConv>),
}

impl Block {
    fn new(
        kind: BlockKind,
        config: &StageConfig,
        drop_path: DropPath,
        layers: &Layers,
    ) -> Result<Self> {
        let (width, inner) = (config.width, config.inner);
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        let (at1, at2) = (layers.pp("conv1"), layers.pp("conv2"));
        let conv1 = conv(width, inner, conv1x1, &at1)?;
        Ok(match kind {
            BlockKind::Dark => {
                let conv2 = conv(inner, width, conv3x3, &at2.last())?;
                Self::Dark([conv1, conv2], drop_path)
            }
            BlockKind::Bottleneck { groups } => {
                let conv2 = conv(inner, inner, conv3x3.groups(groups), &at2)?;
                let names = ("conv3.conv", "conv3.bn", "act3");
                let conv3 = layers.residual_conv(names, inner, width, conv1x1)?;
                Self::Bottleneck([conv1, conv2], Box::new(conv3.with_drop_path(drop_path)))
            }
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (Self::Dark([conv1, conv2], _) | Self::Bottleneck([conv1, conv2], _)) = self;
        let y = conv1.forward_t(x, train)?;
        let y = conv2.forward_t(&y, train)?;
        match self {
            Self::Dark(_, drop_path) => add(&drop_path.forward_t(&y, train)?, x),
            Self::Bottleneck(_, conv3) => conv3.forward(&y, x, train),
        }
    }
}

/// The bypass of a stage.
struct Cross {
    /// Makes the channels that are split between the bypass and the blocks.
    expansion: ConvNormAct,
    width: usize,
    /// After the blocks, and after the concatenation.
    transitions: [ConvNormAct; 2],
}

struct Stage {
    down: Option<ConvNormAct>,
    cross: Option<Cross>,
    blocks: Vec<Recomputed<Block>>,
}

impl Stage {
    /// A stage whose blocks have the numbers from `first` on, of `total`.
    fn new(
        config: &Config,
        index: usize,
        inputs: usize,
        (first, total): (usize, usize),
        layers: &Layers,
    ) -> Result<Self> {
        let stage = &config.stages[index];
        let halving = Conv2dConfig::same(3).stride(2);
        let at = layers.pp("conv_down");
        let (down, inputs) = match (config.blocks, layers.spec.stem) {
            (BlockKind::Dark, Stem::Cifar) if index == 0 => {
                let same = Conv2dConfig::same(3);
                (Some(conv(inputs, stage.outputs, same, &at)?), stage.outputs)
            }
            (BlockKind::Dark, _) => {
                let down = conv(inputs, stage.outputs, halving, &at)?;
                (Some(down), stage.outputs)
            }
            (BlockKind::Bottleneck { .. }, _) if index == 0 => (None, inputs),
            (BlockKind::Bottleneck { groups }, _) => {
                let down = conv(inputs, inputs, halving.groups(groups), &at)?;
                (Some(down), inputs)
            }
        };
        // The order of construction is timm's.
        let expansion = match config.cross {
            true => Some(Cross::expansion(config.blocks, stage, inputs, layers)?),
            false => None,
        };
        let block = |i: usize| {
            let drop_path = layers.drop_path(first + i, total)?;
            let at = layers.pp("blocks").pp(i);
            let block = Block::new(config.blocks, stage, drop_path, &at)?;
            Ok(layers.block(block))
        };
        let blocks = (0..stage.depth).map(block).collect::<Result<_>>()?;
        let cross = expansion.map(|expansion| Cross::new(expansion, stage, layers));
        Ok(Self {
            down,
            cross: cross.transpose()?,
            blocks,
        })
    }
}

impl Cross {
    fn expansion(
        kind: BlockKind,
        stage: &StageConfig,
        inputs: usize,
        layers: &Layers,
    ) -> Result<ConvNormAct> {
        let (outputs, conv1x1) = (2 * stage.width, Conv2dConfig::same(1));
        let at = layers.pp("conv_exp");
        match kind {
            BlockKind::Dark => conv(inputs, outputs, conv1x1, &at),
            BlockKind::Bottleneck { .. } => at.conv_norm(("conv", "bn"), inputs, outputs, conv1x1),
        }
    }

    fn new(expansion: ConvNormAct, stage: &StageConfig, layers: &Layers) -> Result<Self> {
        let (width, conv1x1) = (stage.width, Conv2dConfig::same(1));
        let at = [layers.pp("conv_transition_b"), layers.pp("conv_transition")];
        let transitions = [
            conv(width, width, conv1x1, &at[0])?,
            conv(2 * width, stage.outputs, conv1x1, &at[1])?,
        ];
        Ok(Self {
            expansion,
            width,
            transitions,
        })
    }
}

impl ModuleT for Stage {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let run = |x: Tensor| {
            let step = |x: Tensor, block: &Recomputed<Block>| block.forward_t(&x, train);
            self.blocks.iter().try_fold(x, step)
        };
        let x = match &self.down {
            Some(down) => down.forward_t(x, train)?,
            None => x.clone(),
        };
        let Some(cross) = &self.cross else {
            return run(x);
        };
        let x = cross.expansion.forward_t(&x, train)?;
        let passing = narrow(&x, 1, 0, cross.width)?;
        let y = run(narrow(&x, 1, cross.width, cross.width)?)?;
        let [after_blocks, last] = &cross.transitions;
        let y = after_blocks.forward_t(&y, train)?;
        last.forward_t(&cat(&[&passing, &y], 1)?, train)
    }
}

struct DarkNet {
    stem: ConvNormAct,
    pool: Option<Pool2dParams>,
    stages: Vec<Stage>,
}

fn build(config: &Config, root: Layers) -> Result<Box<dyn Model>> {
    let layers = root
        .with_head_init(WeightInit::Normal { std: 0.01 })
        .with_zero_init_last(true);
    let (mut inputs, kernel, pool) = match (config.blocks, layers.spec.stem) {
        (BlockKind::Dark, _) => (32, Conv2dConfig::same(3), None),
        (BlockKind::Bottleneck { .. }, Stem::Cifar) => (64, Conv2dConfig::same(3), None),
        (BlockKind::Bottleneck { .. }, Stem::ImageNet) => {
            let pool = Pool2dParams::new((3, 3)).with_stride((2, 2));
            let pool = pool.with_padding((1, 1));
            (64, Conv2dConfig::same(7).stride(2), Some(pool))
        }
    };
    let at = layers.pp("stem").pp("conv1");
    let stem = conv(layers.spec.in_chans, inputs, kernel, &at)?;
    let total = config.stages.iter().map(|stage| stage.depth).sum();
    let stem_reduction = if pool.is_some() { 2 } else { 1 };
    let mut info = vec![FeatureInfo::new(inputs, stem_reduction, "stem.conv1")];
    // The reduction of the first stage.
    let first_reduction = match (config.blocks, layers.spec.stem) {
        (_, Stem::Cifar) => 1,
        (BlockKind::Dark, Stem::ImageNet) => 2,
        (BlockKind::Bottleneck { .. }, Stem::ImageNet) => 4,
    };
    let mut stages = Vec::with_capacity(config.stages.len());
    let mut first = 0;
    for (index, stage) in config.stages.iter().enumerate() {
        let at = layers.pp("stages").pp(index);
        stages.push(Stage::new(config, index, inputs, (first, total), &at)?);
        first += stage.depth;
        inputs = stage.outputs;
        let reduction = first_reduction << index;
        info.push(FeatureInfo::new(
            inputs,
            reduction,
            format!("stages.{index}"),
        ));
    }
    let network = DarkNet { stem, pool, stages };
    Classifier::boxed(network, info, inputs, "head.fc", &layers)
}

impl Backbone for DarkNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        taps.offer(&x);
        if let Some(pool) = &self.pool {
            x = max_pool2d(&x, pool)?;
        }
        for stage in &self.stages {
            x = stage.forward_t(&x, train)?;
            taps.offer(&x);
        }
        global_avg_pool2d(&x)
    }
}
