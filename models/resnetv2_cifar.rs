//! ResNet v2 for 32x32 images: He et al., "Identity Mappings in Deep Residual Networks" (2016,
//! arXiv:1603.05027), in the form of the Keras CIFAR example that the Mish paper trains.
//!
//! Pre-activation bottlenecks in three stages of n blocks, 9n + 2 layers. Bottlenecks have 16, 64
//! and 128 channels inside and 64, 128 and 256 at the output. Every convolution has a bias. The
//! first block of a stage has a 1x1 convolution without norm as its shortcut. The first block of
//! all starts without norm and activation, since the stem ends with them.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNormAct, DropPath};
use candle_mish::ops::{add, global_avg_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::layers::{Layers, NormActConv};
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::resnet::GROUPS;

const fn variant(name: &'static str, size: Size, build: Build) -> Entry {
    Entry::new(name, "resnet", "arXiv:1603.05027", size, build).groups(GROUPS)
}

pub(crate) const ENTRIES: [Entry; 5] = [
    variant("resnetv2_20", (593_732, 66_266_112), |root| build(2, root)),
    variant("resnetv2_56", (1_686_468, 193_143_808), |root| {
        build(6, root)
    }),
    variant("resnetv2_110", (3_325_572, 383_460_352), |root| {
        build(12, root)
    }),
    variant("resnetv2_164", (4_964_676, 573_776_896), |root| {
        build(18, root)
    }),
    variant("resnetv2_245", (7_423_332, 859_251_712), |root| {
        build(27, root)
    }),
];

/// Output channels of the first convolution.
const STEM: usize = 16;
/// Bottleneck width and output channels of each stage.
const STAGES: [(usize, usize); 3] = [(16, 64), (64, 128), (128, 256)];

/// The first convolution of a block, without norm and activation in the first block of all.
enum FirstConv {
    Plain(Conv2d),
    PreAct(Box<NormActConv>),
}

/// 1x1, 3x3 and 1x1 convolutions with a shortcut.
struct Bottleneck {
    conv1: FirstConv,
    conv2: NormActConv,
    conv3: NormActConv,
    drop_path: DropPath,
    downsample: Option<Conv2d>,
}

/// The place of a block in the network.
struct Position {
    stage: usize,
    /// The number of the block in its stage.
    block: usize,
}

impl Bottleneck {
    fn new(
        inputs: usize,
        position: &Position,
        drop_path: DropPath,
        layers: &Layers,
    ) -> Result<Self> {
        let (width, outputs) = STAGES[position.stage];
        let first_in_stage = position.block == 0;
        let stride = if position.stage > 0 && first_in_stage {
            2
        } else {
            1
        };
        let conv = |kernel| Conv2dConfig::same(kernel).bias(true);
        let strided = conv(1).stride(stride);
        let conv1 = if position.stage == 0 && first_in_stage {
            FirstConv::Plain(layers.pp("conv1").conv(inputs, width, strided)?)
        } else {
            let names = ("bn1", "act1", "conv1");
            FirstConv::PreAct(layers.norm_act_conv(names, inputs, width, strided)?.into())
        };
        let downsample = if first_in_stage {
            let layers = layers.pp("downsample").pp(0);
            Some(layers.conv(inputs, outputs, strided)?)
        } else {
            None
        };
        Ok(Self {
            conv1,
            conv2: layers.norm_act_conv(("bn2", "act2", "conv2"), width, width, conv(3))?,
            conv3: layers.norm_act_conv(("bn3", "act3", "conv3"), width, outputs, conv(1))?,
            drop_path,
            downsample,
        })
    }
}

impl ModuleT for Bottleneck {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some(conv) => conv.forward(x)?,
            None => x.clone(),
        };
        let y = match &self.conv1 {
            FirstConv::Plain(conv) => conv.forward(x)?,
            FirstConv::PreAct(conv) => conv.forward_t(x, train)?,
        };
        let y = self.conv2.forward_t(&y, train)?;
        let y = self.conv3.forward_t(&y, train)?;
        add(&self.drop_path.forward_t(&y, train)?, &shortcut)
    }
}

struct ResNetV2 {
    stem: ConvNormAct,
    stages: Vec<Vec<Recomputed<Bottleneck>>>,
    norm: BatchNorm2d,
    act: Act,
}

fn build(blocks_per_stage: usize, layers: Layers) -> Result<Box<dyn Model>> {
    let names = ("conv1", "bn1", "act1");
    let conv3x3 = Conv2dConfig::same(3).bias(true);
    let stem = layers.conv_norm_act(names, layers.spec.in_chans, STEM, conv3x3)?;
    let mut info = vec![FeatureInfo::new(STEM, 1, "act1")];
    let mut stages = Vec::with_capacity(STAGES.len());
    let mut inputs = STEM;
    for (stage, (_, outputs)) in STAGES.into_iter().enumerate() {
        let last = stage + 1 == STAGES.len();
        let name = format!("layer{}", stage + 1);
        let layers = layers.pp(&name);
        let mut blocks = Vec::with_capacity(blocks_per_stage);
        for block in 0..blocks_per_stage {
            let index = stage * blocks_per_stage + block;
            let drop_path = layers.drop_path(index, STAGES.len() * blocks_per_stage)?;
            let position = Position { stage, block };
            let block = Bottleneck::new(inputs, &position, drop_path, &layers.pp(block))?;
            blocks.push(layers.block(block));
            inputs = outputs;
        }
        stages.push(blocks);
        let module = if last { "act".to_string() } else { name };
        info.push(FeatureInfo::new(outputs, 1 << stage, module));
    }
    let network = ResNetV2 {
        stem,
        stages,
        norm: layers.pp("bn").norm(inputs)?,
        act: layers.pp("act").act(inputs)?,
    };
    Classifier::boxed(network, info, inputs, "fc", &layers)
}

impl Backbone for ResNetV2 {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        taps.offer(&x);
        for (i, stage) in self.stages.iter().enumerate() {
            for block in stage {
                x = block.forward_t(&x, train)?;
            }
            if i + 1 < self.stages.len() {
                taps.offer(&x);
            }
        }
        let x = self.norm.forward_act(&x, None, &self.act, train)?;
        taps.offer(&x);
        global_avg_pool2d(&x)
    }
}
