//! ShuffleNet v1: Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network
//! for Mobile Devices" (2017, arXiv:1707.01083), table 1 with three groups; and v2: Ma et al.,
//! "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (2018,
//! arXiv:1807.11164), table 5, at the width 1.0.
//!
//! Paths and shapes of v2 are torchvision's; v1, which torchvision lacks, has the same form. For
//! 32x32 images the first convolution has stride 1 and no pooling follows, as in the usual CIFAR
//! ports: the three stages work at 16x16, 8x8 and 4x4. The papers' activation is ReLU.
//!
//! In v1 no norm follows the sums and concatenations, so that features grow from unit to unit. The
//! classifier needs smaller steps than in other networks.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, WeightInit};
use candle_mish::ops::{
    AvgDivisor, Pool2dParams, avg_pool2d, cat, channel_shuffle, global_avg_pool2d, max_pool2d,
    narrow,
};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::layers::{Layers, ResidualConv};
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

const FAMILY: &str = "shufflenet";

pub(crate) const ENTRIES: [Entry; 2] = [
    Entry::new(
        "shufflenet_v1_x1_0",
        FAMILY,
        "arXiv:1707.01083",
        (1_000_828, 42_676_992),
        v1,
    )
    .imagenet(224, (1_865_728, 137_460_672))
    .groups(GROUPS)
    .recipe(V1_RECIPE),
    Entry::new(
        "shufflenet_v2_x1_0",
        FAMILY,
        "arXiv:1807.11164",
        (1_356_104, 45_094_272),
        v2,
    )
    .imagenet(224, (2_278_604, 144_907_992))
    .groups(GROUPS),
];

const GROUPS: GroupMatcher = &[("conv1.", STEM), ("stage#.#.", BLOCK)];

/// SGD diverges at rates of 0.05 and more.
const V1_RECIPE: &str = "opt = 'adamw'\nlr = 0.002\n";

/// Output channels of the first convolution.
const STEM_CHANNELS: usize = 24;
/// Units of each stage. The first one halves the size.
const REPEATS: [usize; 3] = [4, 8, 4];

/// Groups of the 1x1 convolutions of v1.
const CONV_GROUPS: usize = 3;
/// Output channels of the stages of v1 with three groups.
const V1: [usize; 3] = [240, 480, 960];

/// Output channels of the stages of v2.
const V2: [usize; 3] = [116, 232, 464];
/// Output channels of the convolution after the stages of v2.
const V2_HEAD: usize = 1024;

/// The last convolution of a unit of v1.
enum End {
    /// At stride 1: added to the input.
    Sum(Box<ResidualConv>),
    /// At stride 2: concatenated to the pooled input.
    Concat(Box<ConvNormAct>),
}

/// A bottleneck of grouped 1x1 convolutions, with a shuffle after the first.
struct GroupedUnit {
    conv1: ConvNormAct,
    conv2: ConvNormAct,
    conv3: End,
}

impl GroupedUnit {
    fn new(
        inputs: usize,
        outputs: usize,
        stride: usize,
        (block, blocks): (usize, usize),
        layers: &Layers,
    ) -> Result<Self> {
        let width = outputs / 4;
        // The stem has too few channels for groups.
        let groups = if inputs == STEM_CHANNELS {
            1
        } else {
            CONV_GROUPS
        };
        let conv1x1 = Conv2dConfig::same(1);
        let depthwise = Conv2dConfig::same(3).stride(stride).groups(width);
        let (first, last) = (("conv1", "bn1", "act1"), ("conv3", "bn3", "act3"));
        let grouped = conv1x1.groups(CONV_GROUPS);
        let conv3 = if stride == 1 {
            let conv = layers.residual_conv(last, width, outputs, grouped)?;
            let drop_path = layers.drop_path(block, blocks)?;
            End::Sum(Box::new(conv.with_drop_path(drop_path)))
        } else {
            let conv = layers.conv_norm_act(last, width, outputs - inputs, grouped)?;
            End::Concat(Box::new(conv))
        };
        Ok(Self {
            conv1: layers.conv_norm_act(first, inputs, width, conv1x1.groups(groups))?,
            conv2: layers.conv_norm(("conv2", "bn2"), width, width, depthwise)?,
            conv3,
        })
    }
}

impl ModuleT for GroupedUnit {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.conv1.forward_t(x, train)?;
        let y = self
            .conv2
            .forward_t(&channel_shuffle(&y, CONV_GROUPS)?, train)?;
        match &self.conv3 {
            End::Sum(conv) => conv.forward(&y, x, train),
            End::Concat(conv) => {
                let pool = Pool2dParams::new((3, 3))
                    .with_stride((2, 2))
                    .with_padding((1, 1));
                let pooled = avg_pool2d(x, &pool, AvgDivisor::Window)?;
                cat(&[&pooled, &conv.forward_t(&y, train)?], 1)
            }
        }
    }
}

/// A 1x1, a depthwise and a 1x1 convolution of half of the channels, or of all at stride 2. The
/// result and the other half are concatenated and shuffled.
struct SplitUnit {
    /// The convolutions that make the other half at stride 2.
    branch1: Option<[ConvNormAct; 2]>,
    branch2: [ConvNormAct; 3],
}

impl SplitUnit {
    fn new(inputs: usize, outputs: usize, stride: usize, layers: &Layers) -> Result<Self> {
        let width = outputs / 2;
        let conv1x1 = Conv2dConfig::same(1);
        let depthwise = |channels| Conv2dConfig::same(3).stride(stride).groups(channels);
        let (one, two) = (layers.pp("branch1"), layers.pp("branch2"));
        let branch1 = if stride == 1 {
            None
        } else {
            Some([
                one.conv_norm(("0", "1"), inputs, inputs, depthwise(inputs))?,
                one.conv_norm_act(("2", "3", "4"), inputs, width, conv1x1)?,
            ])
        };
        let branch2_inputs = if stride == 1 { width } else { inputs };
        Ok(Self {
            branch1,
            branch2: [
                two.conv_norm_act(("0", "1", "2"), branch2_inputs, width, conv1x1)?,
                two.conv_norm(("3", "4"), width, width, depthwise(width))?,
                two.conv_norm_act(("5", "6", "7"), width, width, conv1x1)?,
            ],
        })
    }
}

impl ModuleT for SplitUnit {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let through = |convs: &[ConvNormAct], x: Tensor| {
            let mut convs = convs.iter();
            convs.try_fold(x, |y, conv| conv.forward_t(&y, train))
        };
        let (kept, changed) = match &self.branch1 {
            Some(branch1) => (through(branch1, x.clone())?, x.clone()),
            None => {
                let half = x.dim(1)? / 2;
                (narrow(x, 1, 0, half)?, narrow(x, 1, half, half)?)
            }
        };
        let changed = through(&self.branch2, changed)?;
        channel_shuffle(&cat(&[&kept, &changed], 1)?, 2)
    }
}

struct ShuffleNet<U> {
    stem: ConvNormAct,
    stem_pool: Option<Pool2dParams>,
    stages: Vec<Vec<Recomputed<U>>>,
    head: Option<ConvNormAct>,
}

/// The shape of a unit and its place.
struct Place {
    inputs: usize,
    outputs: usize,
    stride: usize,
    /// Its number among all units, and how many there are.
    number: (usize, usize),
}

impl<U: ModuleT + Send + Sync + 'static> ShuffleNet<U> {
    fn boxed(
        channels: [usize; 3],
        head: Option<usize>,
        unit: impl Fn(Place, &Layers) -> Result<U>,
        layers: &Layers,
    ) -> Result<Box<dyn Model>> {
        let imagenet = layers.spec.stem == Stem::ImageNet;
        let pool = Pool2dParams::new((3, 3))
            .with_stride((2, 2))
            .with_padding((1, 1));
        let (names, images) = (("0", "1", "2"), layers.spec.in_chans);
        let conv3x3 = Conv2dConfig::same(3).stride(if imagenet { 2 } else { 1 });
        let conv1 = layers.pp("conv1");
        let stem = conv1.conv_norm_act(names, images, STEM_CHANNELS, conv3x3)?;
        let [stem_reduction, mut reduction] = if imagenet { [2, 4] } else { [1, 1] };
        let mut info = vec![FeatureInfo::new(STEM_CHANNELS, stem_reduction, "conv1")];
        let (mut inputs, mut built) = (STEM_CHANNELS, 0);
        let mut stages = Vec::with_capacity(REPEATS.len());
        for ((stage, repeats), outputs) in (2..).zip(REPEATS).zip(channels) {
            let name = format!("stage{stage}");
            let layers = layers.pp(&name);
            let mut units = Vec::with_capacity(repeats);
            for index in 0..repeats {
                let place = Place {
                    inputs,
                    outputs,
                    stride: if index == 0 { 2 } else { 1 },
                    number: (built, REPEATS.iter().sum()),
                };
                units.push(layers.block(unit(place, &layers.pp(index))?));
                built += 1;
                inputs = outputs;
            }
            stages.push(units);
            reduction *= 2;
            info.push(FeatureInfo::new(outputs, reduction, name));
        }
        let mut conv5 = None;
        if let Some(outputs) = head {
            let conv1x1 = Conv2dConfig::same(1);
            conv5 = Some(
                layers
                    .pp("conv5")
                    .conv_norm_act(names, inputs, outputs, conv1x1)?,
            );
            inputs = outputs;
        }
        let network = Self {
            stem,
            stem_pool: imagenet.then_some(pool),
            stages,
            head: conv5,
        };
        Classifier::boxed(network, info, inputs, "fc", layers)
    }
}

fn v1(root: Layers) -> Result<Box<dyn Model>> {
    let unit = |place: Place, layers: &Layers| {
        let Place {
            inputs,
            outputs,
            stride,
            number,
        } = place;
        GroupedUnit::new(inputs, outputs, stride, number, layers)
    };
    ShuffleNet::boxed(V1, None, unit, &root)
}

fn v2(root: Layers) -> Result<Box<dyn Model>> {
    let unit = |place: Place, layers: &Layers| {
        SplitUnit::new(place.inputs, place.outputs, place.stride, layers)
    };
    let root = root.with_conv_init(WeightInit::Default);
    ShuffleNet::boxed(V2, Some(V2_HEAD), unit, &root)
}

impl<U: ModuleT + Send + Sync + 'static> Backbone for ShuffleNet<U> {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        taps.offer(&x);
        if let Some(pool) = &self.stem_pool {
            x = max_pool2d(&x, pool)?;
        }
        for stage in &self.stages {
            for unit in stage {
                x = unit.forward_t(&x, train)?;
            }
            taps.offer(&x);
        }
        if let Some(head) = &self.head {
            x = head.forward_t(&x, train)?;
        }
        global_avg_pool2d(&x)
    }
}
