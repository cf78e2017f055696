//! PeleeNet: Wang et al., "Pelee: A Real-Time Object Detection System on Mobile Devices" (2018,
//! arXiv:1804.06882), section 2, at the width 1.0.
//!
//! A densely connected network of plain convolutions. The stem halves the resolution twice, the
//! second time with two branches. Every dense layer adds 16 channels with a 3x3 receptive field and
//! 16 with 5x5. The transitions keep the channels. Paths are the same as in the authors' PyTorch
//! checkpoint. For 32x32 images the first convolution has stride 1, so that the dense blocks work
//! at 16x16, 8x8, 4x4 and 2x2. The authors' dropout of 0.05 before the classifier is off by
//! default. Their activation is ReLU.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct};
use candle_mish::ops::{AvgDivisor, Pool2dParams, avg_pool2d, cat, global_avg_pool2d, max_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{BLOCK, GroupMatcher, HEAD, STEM, WITH_BLOCK};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "peleenet",
    "peleenet",
    "arXiv:1804.06882",
    (2_167_748, 41_462_528),
    build,
)
.imagenet(224, (2_802_248, 507_757_568))
.groups(GROUPS)];

/// Each transition joins the dense layer before it, except the last, which joins the classifier.
const GROUPS: GroupMatcher = &[
    ("features.stemblock.", STEM),
    ("features.denseblock#.denselayer#.", BLOCK),
    ("features.transition4.", HEAD),
    ("features.transition#.", WITH_BLOCK),
];

/// Output channels of the stem.
const STEM_CHANNELS: usize = 32;
/// Channels that each branch of a dense layer adds.
const GROWTH: usize = 16;
/// Dense layers of each block, and the channels of their 1x1 convolutions.
const BLOCKS: [(usize, usize); 4] = [(3, 16), (4, 32), (8, 64), (6, 64)];

/// A convolution with norm and activation at `name`.
fn conv(
    layers: &Layers,
    name: &str,
    inputs: usize,
    outputs: usize,
    config: Conv2dConfig,
) -> Result<ConvNormAct> {
    let names = ("conv", "norm", "activation");
    layers
        .pp(name)
        .conv_norm_act(names, inputs, outputs, config)
}

/// The stem: two branches, a strided convolution and pooling, halve the resolution.
struct StemBlock {
    stem1: ConvNormAct,
    stem2a: ConvNormAct,
    stem2b: ConvNormAct,
    stem3: ConvNormAct,
}

impl StemBlock {
    fn new(layers: &Layers) -> Result<Self> {
        let stride = match layers.spec.stem {
            Stem::Cifar => 1,
            Stem::ImageNet => 2,
        };
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        let (inputs, first) = (layers.spec.in_chans, conv3x3.stride(stride));
        Ok(Self {
            stem1: conv(layers, "stem1", inputs, STEM_CHANNELS, first)?,
            stem2a: conv(layers, "stem2a", STEM_CHANNELS, STEM_CHANNELS / 2, conv1x1)?,
            stem2b: conv(
                layers,
                "stem2b",
                STEM_CHANNELS / 2,
                STEM_CHANNELS,
                conv3x3.stride(2),
            )?,
            stem3: conv(layers, "stem3", 2 * STEM_CHANNELS, STEM_CHANNELS, conv1x1)?,
        })
    }
}

impl ModuleT for StemBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.stem1.forward_t(x, train)?;
        let strided = self.stem2a.forward_t(&x, train)?;
        let strided = self.stem2b.forward_t(&strided, train)?;
        // Both branches round an odd size up, so that their sizes agree.
        let pool = Pool2dParams::new((2, 2)).with_ceil_mode(true);
        let pooled = max_pool2d(&x, &pool)?;
        self.stem3.forward_t(&cat(&[&pooled, &strided], 1)?, train)
    }
}

/// Features with two receptive fields, concatenated to the input.
struct DenseLayer {
    branch1: [ConvNormAct; 2],
    branch2: [ConvNormAct; 3],
}

impl DenseLayer {
    fn new(inputs: usize, bottleneck: usize, layers: &Layers) -> Result<Self> {
        let (conv1x1, conv3x3) = (Conv2dConfig::same(1), Conv2dConfig::same(3));
        Ok(Self {
            branch1: [
                conv(layers, "branch1a", inputs, bottleneck, conv1x1)?,
                conv(layers, "branch1b", bottleneck, GROWTH, conv3x3)?,
            ],
            branch2: [
                conv(layers, "branch2a", inputs, bottleneck, conv1x1)?,
                conv(layers, "branch2b", bottleneck, GROWTH, conv3x3)?,
                conv(layers, "branch2c", GROWTH, GROWTH, conv3x3)?,
            ],
        })
    }
}

impl ModuleT for DenseLayer {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let branch = |convs: &[ConvNormAct]| {
            let mut convs = convs.iter();
            convs.try_fold(x.clone(), |y, conv| conv.forward_t(&y, train))
        };
        cat(&[x, &branch(&self.branch1)?, &branch(&self.branch2)?], 1)
    }
}

/// Dense layers and the 1x1 convolution that mixes their channels.
struct DenseBlock {
    dense: Vec<Recomputed<DenseLayer>>,
    transition: ConvNormAct,
}

impl ModuleT for DenseBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut dense = self.dense.iter();
        let x = dense.try_fold(x.clone(), |x, layer| layer.forward_t(&x, train))?;
        self.transition.forward_t(&x, train)
    }
}

struct PeleeNet {
    stem: StemBlock,
    blocks: Vec<DenseBlock>,
}

fn build(root: Layers) -> Result<Box<dyn Model>> {
    let layers = root.pp("features");
    let stem = StemBlock::new(&layers.pp("stemblock"))?;
    let mut reduction = match root.spec.stem {
        Stem::Cifar => 2,
        Stem::ImageNet => 4,
    };
    let mut info = vec![FeatureInfo::new(
        STEM_CHANNELS,
        reduction,
        "features.stemblock",
    )];
    let mut channels = STEM_CHANNELS;
    let mut blocks = Vec::with_capacity(BLOCKS.len());
    for (index, (repeats, bottleneck)) in (1..).zip(BLOCKS) {
        let mut dense = Vec::with_capacity(repeats);
        let block = layers.pp(format!("denseblock{index}"));
        for layer in 1..=repeats {
            let layers = block.pp(format!("denselayer{layer}"));
            dense.push(layers.block(DenseLayer::new(channels, bottleneck, &layers)?));
            channels += 2 * GROWTH;
        }
        let name = format!("transition{index}");
        let transition = conv(&layers, &name, channels, channels, Conv2dConfig::same(1))?;
        blocks.push(DenseBlock { dense, transition });
        if index > 1 {
            reduction *= 2;
        }
        info.push(FeatureInfo::new(
            channels,
            reduction,
            format!("features.{name}"),
        ));
    }
    let network = PeleeNet { stem, blocks };
    Classifier::boxed(network, info, channels, "classifier", &root)
}

impl Backbone for PeleeNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        taps.offer(&x);
        for (index, block) in self.blocks.iter().enumerate() {
            if index > 0 {
                x = avg_pool2d(&x, &Pool2dParams::new((2, 2)), AvgDivisor::Window)?;
            }
            x = block.forward_t(&x, train)?;
            taps.offer(&x);
        }
        global_avg_pool2d(&x)
    }
}
