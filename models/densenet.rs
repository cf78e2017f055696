//! DenseNet: Huang et al., "Densely Connected Convolutional Networks" (2016, arXiv:1608.06993),
//! table 1.
//!
//! Every layer of a dense block takes the outputs of all earlier ones: norm, activation and a 1x1
//! convolution to 4k channels, norm, activation and a 3x3 convolution to k, the growth rate. Its
//! output is concatenated to its input. Between blocks a transition halves the channels and the
//! resolution. The first convolution has 2k channels.
//!
//! - densenet121, 161, 169 and 201 have four blocks. For ImageNet the first convolution is 7x7
//!   with stride 2, and a max pool follows; for 32x32 images it is 3x3 with stride 1, without a max
//!   pool, as in the usual CIFAR ports. The keys are timm's in both forms.
//! - densenet_bc100_12 is the paper's DenseNet-BC for CIFAR (section 4.2): three blocks, k = 12,
//!   and no norm after the first convolution. Its keys follow the same pattern.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{
    Act, AvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, MaxPool2d, WeightInit, gain,
};
use candle_mish::ops::{Pool2dParams, cat, global_avg_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher, STEM, WITH_BLOCK};
use crate::layers::{Layers, NormActConv};
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

const fn variant(name: &'static str, cifar: Size, build: Build) -> Entry {
    Entry::new(name, "densenet", "arXiv:1608.06993", cifar, build).groups(GROUPS)
}

const GROUPS: GroupMatcher = &[
    ("features.conv0.", STEM),
    ("features.norm0.", STEM),
    ("features.denseblock#.denselayer#.", BLOCK),
    ("features.transition#.", WITH_BLOCK),
];

pub(crate) const ENTRIES: [Entry; 5] = [
    variant("densenet121", (7_048_676, 888_442_880), |root| {
        build(32, &[6, 12, 24, 16], as_torchvision(root))
    })
    .imagenet(224, (7_978_856, 2_834_161_664)),
    variant("densenet161", (26_681_380, 2_467_749_504), |root| {
        build(48, &[6, 12, 36, 24], as_torchvision(root))
    })
    .imagenet(224, (28_681_000, 7_727_907_072)),
    variant("densenet169", (12_643_300, 1_059_949_056), |root| {
        build(32, &[6, 12, 32, 32], as_torchvision(root))
    })
    .imagenet(224, (14_149_480, 3_359_843_328)),
    variant("densenet201", (18_277_348, 1_364_061_696), |root| {
        build(32, &[6, 12, 48, 32], as_torchvision(root))
    })
    .imagenet(224, (20_013_928, 4_291_365_888)),
    variant("densenet_bc100_12", (800_032, 287_960_472), |root| {
        build(12, &[16, 16, 16], root)
    }),
];

/// The hidden channels of a layer, in growth rates.
const BOTTLENECK: usize = 4;

/// The layers before the first block.
struct DenseStem {
    conv: Conv2d,
    norm_act: Option<(BatchNorm2d, Act)>,
    pool: Option<MaxPool2d>,
}

impl DenseStem {
    /// `features.conv0` and, if `norm`, `features.norm0`.
    fn new(channels: usize, norm: bool, layers: &Layers) -> Result<Self> {
        let (config, pool) = match layers.spec.stem {
            Stem::Cifar => (Conv2dConfig::same(3), None),
            Stem::ImageNet => {
                let pool = Pool2dParams::new((3, 3))
                    .with_stride((2, 2))
                    .with_padding((1, 1));
                (Conv2dConfig::same(7).stride(2), Some(MaxPool2d::new(pool)))
            }
        };
        let conv = layers.pp("conv0");
        let conv = conv.conv(layers.spec.in_chans, channels, config)?;
        let norm_act = if norm {
            let layers = layers.pp("norm0");
            Some((layers.norm(channels)?, layers.pp("act").act(channels)?))
        } else {
            None
        };
        Ok(Self {
            conv,
            norm_act,
            pool,
        })
    }

    /// Everything but the pool.
    fn conv_norm_act(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        match &self.norm_act {
            Some((norm, act)) => norm.forward_conv(&self.conv, images, None, act, train),
            None => self.conv.forward(images),
        }
    }
}

/// A layer of a dense block.
struct DenseLayer {
    squeeze: NormActConv,
    grow: NormActConv,
}

impl DenseLayer {
    fn new(inputs: usize, growth: usize, layers: &Layers) -> Result<Self> {
        let hidden = BOTTLENECK * growth;
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        let (first, second) = (
            ("norm1", "norm1.act", "conv1"),
            ("norm2", "norm2.act", "conv2"),
        );
        Ok(Self {
            squeeze: layers.norm_act_conv(first, inputs, hidden, conv1x1)?,
            grow: layers.norm_act_conv(second, hidden, growth, conv3x3)?,
        })
    }
}

impl ModuleT for DenseLayer {
    /// `x` and the layer's own channels, concatenated. The result is both the input of the next
    /// layer and the state of the block, so that each layer needs one concatenation.
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let Self { squeeze, grow } = self;
        let new = grow.after_conv(squeeze, &squeeze.pre(x, train)?, train)?;
        cat(&[x, &new], 1)
    }
}

/// Layers, and the transition to the next block, if there is one.
struct DenseBlock {
    layers: Vec<Recomputed<DenseLayer>>,
    transition: Option<NormActConv>,
}

struct DenseNet {
    stem: DenseStem,
    blocks: Vec<DenseBlock>,
    pool: AvgPool2d,
    norm: BatchNorm2d,
    act: Act,
}

/// torchvision's and timm's initial weights. The authors' and the CIFAR form's go by the fan-out.
fn as_torchvision(root: Layers) -> Layers {
    let gain = gain(&root.spec.activation);
    root.with_conv_init(WeightInit::KaimingFanIn { gain })
        .with_head_init(WeightInit::UniformFanIn)
}

fn build(growth: usize, blocks: &[usize], root: Layers) -> Result<Box<dyn Model>> {
    let features = root.pp("features");
    let mut channels = 2 * growth;
    // Networks with an ImageNet form have four blocks. DenseNet-BC for CIFAR has three, and no norm
    // in the stem.
    let stem = DenseStem::new(channels, blocks.len() > 3, &features)?;
    let [stem_reduction, mut reduction] = match root.spec.stem {
        Stem::Cifar => [1, 1],
        Stem::ImageNet => [2, 4],
    };
    let module = if stem.norm_act.is_some() {
        "norm0"
    } else {
        "conv0"
    };
    let mut info = vec![FeatureInfo::new(
        channels,
        stem_reduction,
        format!("features.{module}"),
    )];
    let mut dense_blocks = Vec::with_capacity(blocks.len());
    for (block, &count) in (1..).zip(blocks) {
        let mut layers = Vec::with_capacity(count);
        let name = format!("denseblock{block}");
        let path = features.pp(&name);
        for i in 1..=count {
            let path = path.pp(format!("denselayer{i}"));
            layers.push(path.block(DenseLayer::new(channels, growth, &path)?));
            channels += growth;
        }
        let transition = if block < blocks.len() {
            info.push(FeatureInfo::new(
                channels,
                reduction,
                format!("features.{name}"),
            ));
            reduction *= 2;
            let path = features.pp(format!("transition{block}"));
            let (names, conv1x1) = (("norm", "norm.act", "conv"), Conv2dConfig::same(1));
            let transition = path.norm_act_conv(names, channels, channels / 2, conv1x1)?;
            channels /= 2;
            Some(transition)
        } else {
            None
        };
        dense_blocks.push(DenseBlock { layers, transition });
    }
    info.push(FeatureInfo::new(channels, reduction, "features.norm5"));
    let norm = features.pp("norm5");
    let network = DenseNet {
        stem,
        blocks: dense_blocks,
        pool: AvgPool2d::new(Pool2dParams::new((2, 2))),
        norm: norm.norm(channels)?,
        act: norm.pp("act").act(channels)?,
    };
    Classifier::boxed(network, info, channels, "classifier", &root)
}

impl Backbone for DenseNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.conv_norm_act(images, train)?;
        taps.offer(&x);
        if let Some(pool) = &self.stem.pool {
            x = pool.forward(&x)?;
        }
        for block in &self.blocks {
            for layer in &block.layers {
                x = layer.forward_t(&x, train)?;
            }
            if let Some(transition) = &block.transition {
                taps.offer(&x);
                x = self.pool.forward(&transition.forward_t(&x, train)?)?;
            }
        }
        let x = self.norm.forward_act(&x, None, &self.act, train)?;
        taps.offer(&x);
        global_avg_pool2d(&x)
    }
}
