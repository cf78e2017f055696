//! VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
//! Recognition" (2014, arXiv:1409.1556), table 1, columns A, B, D and E, each with or without
//! batch norm.
//!
//! 3x3 convolutions with biases in five stages of 64, 128, 256, 512 and 512 channels, a max pool
//! after each. For ImageNet two hidden layers of 4096 and the classifier follow, with the keys of
//! timm, where the hidden layers are convolutions. For 32x32 images only one linear layer follows
//! the 512 features, as in the usual CIFAR ports. The paper's dropout is
//! [`ModelSpec::drop_rate`](crate::ModelSpec::drop_rate), 0 by default.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{
    Act, Conv2d, Conv2dConfig, ConvNormAct, Dropout, MaxPool2d, WeightInit, forward_in_parts,
};
use candle_mish::ops::{Pool2dParams, adaptive_avg_pool2d, global_avg_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

/// Each convolution and each norm is a layer, as in timm.
const GROUPS: GroupMatcher = &[("features.#.", BLOCK)];

const fn with_norms(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    Entry::new(name, "vgg", "arXiv:1409.1556", cifar, build)
        .imagenet(224, imagenet)
        .groups(GROUPS)
}

const fn plain(name: &'static str, cifar: Size, imagenet: Size, build: Build) -> Entry {
    with_norms(name, cifar, imagenet, build).recipe(RECIPE)
}

/// Without norms, SGD diverges at its default rate.
const RECIPE: &str = "opt = 'adamw'\nlr = 0.0005\n";

pub(crate) const ENTRIES: [Entry; 8] = [
    plain(
        "vgg11",
        (9_271_780, 152_815_616),
        (132_863_336, 7_609_090_048),
        |root| build(VGG11, Norm::None, root),
    ),
    with_norms(
        "vgg11_bn",
        (9_277_284, 152_815_616),
        (132_868_840, 7_609_090_048),
        |root| build(VGG11, Norm::Batch, root),
    ),
    plain(
        "vgg13",
        (9_456_292, 228_313_088),
        (133_047_848, 11_308_466_176),
        |root| build(VGG13, Norm::None, root),
    ),
    with_norms(
        "vgg13_bn",
        (9_462_180, 228_313_088),
        (133_053_736, 11_308_466_176),
        |root| build(VGG13, Norm::Batch, root),
    ),
    plain(
        "vgg16",
        (14_765_988, 313_247_744),
        (138_357_544, 15_470_264_320),
        |root| build(VGG16, Norm::None, root),
    ),
    with_norms(
        "vgg16_bn",
        (14_774_436, 313_247_744),
        (138_365_992, 15_470_264_320),
        |root| build(VGG16, Norm::Batch, root),
    ),
    plain(
        "vgg19",
        (20_075_684, 398_182_400),
        (143_667_240, 19_632_062_464),
        |root| build(VGG19, Norm::None, root),
    ),
    with_norms(
        "vgg19_bn",
        (20_086_692, 398_182_400),
        (143_678_248, 19_632_062_464),
        |root| build(VGG19, Norm::Batch, root),
    ),
];

/// The norm after each convolution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Norm {
    None,
    Batch,
}

/// The number of convolutions in each stage.
type Depths = [usize; 5];

const VGG11: Depths = [1, 1, 2, 2, 2];
const VGG13: Depths = [2, 2, 2, 2, 2];
const VGG16: Depths = [2, 2, 3, 3, 3];
const VGG19: Depths = [2, 2, 4, 4, 4];

const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];
/// The channels of the hidden layers, and the height and width of their input map.
const HIDDEN: usize = 4096;
const MAP: usize = 7;

/// A convolution, its batch norm if it has one, and its activation.
enum ConvAct {
    Plain(Conv2d, Act),
    Normed(ConvNormAct),
}

impl ConvAct {
    /// The layers at `features.{index}` and at the following numbers.
    fn new(
        index: usize,
        inputs: usize,
        outputs: usize,
        norm: Norm,
        layers: &Layers,
    ) -> Result<Self> {
        let config = Conv2dConfig::same(3).bias(true);
        let [conv, second, third] = [0, 1, 2].map(|i| (index + i).to_string());
        if norm == Norm::Batch {
            let names = (&*conv, &*second, &*third);
            let layer = layers.conv_norm_act(names, inputs, outputs, config)?;
            return Ok(Self::Normed(layer));
        }
        let conv = layers.pp(conv).conv(inputs, outputs, config)?;
        Ok(Self::Plain(conv, layers.pp(second).act(outputs)?))
    }

    fn weight(&self) -> &Tensor {
        match self {
            Self::Plain(conv, _) => conv.weight(),
            Self::Normed(layer) => layer.conv().weight(),
        }
    }
}

impl ModuleT for ConvAct {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::Plain(conv, act) => act.forward_t(&conv.forward(x)?, train),
            Self::Normed(layer) => layer.forward_t(x, train),
        }
    }
}

/// The convolutions between two max pools.
struct Stage(Vec<ConvAct>);

impl Stage {
    /// Whether its output for an image of `x` has more values than the stage has weights.
    fn is_wide(&self, x: &Tensor) -> Result<bool> {
        let (_, _, height, width) = x.dims4()?;
        let weights: usize = self.0.iter().map(|layer| layer.weight().elem_count()).sum();
        let channels = self.0.last().map_or(0, |layer| layer.weight().dims()[0]);
        Ok(channels * height * width > weights)
    }
}

impl ModuleT for Stage {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let layer = |x: Tensor, layer: &ConvAct| layer.forward_t(&x, train);
        self.0.iter().try_fold(x.clone(), layer)
    }
}

/// A stage and the max pool after it.
struct PooledStage<'a>(&'a Recomputed<Stage>, &'a MaxPool2d);

impl ModuleT for PooledStage<'_> {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.1.forward(&self.0.forward_t(x, train)?)
    }
}

/// The hidden layers before the classifier.
struct PreLogits {
    fc1: (Conv2d, Act),
    dropout: Dropout,
    fc2: (Conv2d, Act),
}

impl PreLogits {
    fn new(inputs: usize, layers: &Layers) -> Result<Self> {
        let layer = |conv: &str, act: &str, inputs, kernel| {
            let config = Conv2dConfig::same(kernel).padding(0).bias(true);
            let conv = layers.pp(conv).conv(inputs, HIDDEN, config)?;
            Ok::<_, candle_core::Error>((conv, layers.pp(act).act(HIDDEN)?))
        };
        Ok(Self {
            fc1: layer("fc1", "act1", inputs, MAP)?,
            dropout: layers.dropout()?,
            fc2: layer("fc2", "act2", HIDDEN, 1)?,
        })
    }
}

impl ModuleT for PreLogits {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        // As timm, adaptive pooling enlarges a smaller map.
        let x = if height < MAP || width < MAP {
            adaptive_avg_pool2d(x, (height.max(MAP), width.max(MAP)))?
        } else {
            x.clone()
        };
        let (fc1, act1) = &self.fc1;
        let x = act1.forward_t(&fc1.forward(&x)?, train)?;
        let (fc2, act2) = &self.fc2;
        act2.forward_t(&fc2.forward(&self.dropout.forward_t(&x, train)?)?, train)
    }
}

struct Vgg {
    stages: Vec<Recomputed<Stage>>,
    pool: MaxPool2d,
    pre_logits: Option<PreLogits>,
    /// Whether the weights are constant.
    constant: bool,
}

fn build(depths: Depths, norm: Norm, root: Layers) -> Result<Box<dyn Model>> {
    let layers = root.with_head_init(WeightInit::Normal { std: 0.01 });
    let features = layers.pp("features");
    let mut info = Vec::with_capacity(WIDTHS.len() + 1);
    let mut stages = Vec::with_capacity(WIDTHS.len());
    let mut inputs = layers.spec.in_chans;
    let mut index = 0;
    for (stage_index, (count, outputs)) in depths.into_iter().zip(WIDTHS).enumerate() {
        let mut stage = Vec::with_capacity(count);
        for _ in 0..count {
            stage.push(ConvAct::new(index, inputs, outputs, norm, &features)?);
            inputs = outputs;
            index += match norm {
                Norm::None => 2,
                Norm::Batch => 3,
            };
        }
        stages.push(layers.block(Stage(stage)));
        info.push(FeatureInfo::new(
            inputs,
            1 << stage_index,
            format!("features.{}", index - 1),
        ));
        // Skips the number of the max pool.
        index += 1;
    }
    info.push(FeatureInfo::new(
        inputs,
        1 << WIDTHS.len(),
        format!("features.{}", index - 1),
    ));
    let (pre_logits, num_features) = match layers.spec.stem {
        Stem::Cifar => (None, inputs),
        Stem::ImageNet => (
            Some(PreLogits::new(inputs, &layers.pp("pre_logits"))?),
            HIDDEN,
        ),
    };
    let network = Vgg {
        stages,
        pool: MaxPool2d::new(Pool2dParams::new((2, 2))),
        pre_logits,
        constant: layers.context.constant,
    };
    Classifier::boxed(network, info, num_features, "head.fc", &layers)
}

impl Backbone for Vgg {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = images.clone();
        for stage in &self.stages {
            // The first maps of a batch are most of the memory of inference.
            if self.constant && !train && taps.is_empty() && stage.block().is_wide(&x)? {
                x = forward_in_parts(&PooledStage(stage, &self.pool), &x, 0)?;
                continue;
            }
            x = stage.forward_t(&x, train)?;
            taps.offer(&x);
            x = self.pool.forward(&x)?;
        }
        taps.offer(&x);
        if let Some(pre_logits) = &self.pre_logits {
            x = pre_logits.forward_t(&x, train)?;
        }
        global_avg_pool2d(&x)
    }
}
