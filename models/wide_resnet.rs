//! Wide ResNet for 32x32 images: Zagoruyko, Komodakis, "Wide Residual Networks" (2016,
//! arXiv:1605.07146), table 1.
//!
//! WRN-d-k: a 3x3 convolution to 16 channels, three stages of n = (d - 4) / 6 pre-activation blocks
//! of two 3x3 convolutions with 16k, 32k and 64k channels at 32x32, 16x16 and 8x8, then norm,
//! activation, global average pooling and a classifier. Where the channels change, the shortcut is
//! a 1x1 convolution of the activated input. [`ModelSpec::drop_rate`](crate::ModelSpec::drop_rate)
//! is the dropout between the two convolutions of a block, as in section 2.4, not before the
//! classifier. `wide_resnet50_2`, the paper's network for ImageNet, is in `resnet.rs`. The keys follow
//! the usual PyTorch port: `block1.layer.0.bn1`, `block1.layer.0.convShortcut` and so on.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, BatchNorm2d, Conv2d, Conv2dConfig, DropPath, Dropout};
use candle_mish::ops::{add, global_avg_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::layers::{Layers, NormActConv};
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;

const fn variant(name: &'static str, size: Size, build: Build) -> Entry {
    Entry::new(name, "wide_resnet", "arXiv:1605.07146", size, build).groups(GROUPS)
}

const GROUPS: GroupMatcher = &[("conv1.", STEM), ("block#.layer.#.", BLOCK)];

pub(crate) const ENTRIES: [Entry; 5] = [
    variant("wrn10_2", (315_316, 44_495_360), |root| build(1, 2, root)),
    variant("wrn16_4", (2_772_020, 392_635_392), |root| {
        build(2, 4, root)
    }),
    variant("wrn22_10", (26_855_604, 3_827_808_768), |root| {
        build(3, 10, root)
    }),
    variant("wrn28_10", (36_536_884, 5_243_386_368), |root| {
        build(4, 10, root)
    }),
    variant("wrn40_4", (8_972_340, 1_298_605_056), |root| {
        build(6, 4, root)
    }),
];

const WIDTHS: [usize; 3] = [16, 32, 64];

/// Two 3x3 convolutions, each after norm and activation, with a shortcut.
struct Block {
    conv1: NormActConv,
    dropout: Dropout,
    conv2: NormActConv,
    drop_path: DropPath,
    shortcut: Option<Conv2d>,
}

impl Block {
    fn new(
        inputs: usize,
        outputs: usize,
        stride: usize,
        drop_path: DropPath,
        layers: &Layers,
    ) -> Result<Self> {
        let (conv3x3, conv1x1) = (Conv2dConfig::same(3), Conv2dConfig::same(1));
        let (first, second) = (("bn1", "act1", "conv1"), ("bn2", "act2", "conv2"));
        let shortcut = if inputs != outputs {
            let layers = layers.pp("convShortcut");
            Some(layers.conv(inputs, outputs, conv1x1.stride(stride))?)
        } else {
            None
        };
        Ok(Self {
            conv1: layers.norm_act_conv(first, inputs, outputs, conv3x3.stride(stride))?,
            dropout: layers.dropout()?,
            conv2: layers.norm_act_conv(second, outputs, outputs, conv3x3)?,
            drop_path,
            shortcut,
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let pre = self.conv1.pre(x, train)?;
        let shortcut = match &self.shortcut {
            Some(conv) => conv.forward(&pre)?,
            None => x.clone(),
        };
        let y = self.conv2.pre(&self.conv1.conv(&pre)?, train)?;
        let y = self.conv2.conv(&self.dropout.forward_t(&y, train)?)?;
        add(&self.drop_path.forward_t(&y, train)?, &shortcut)
    }
}

struct WideResNet {
    conv: Conv2d,
    stages: Vec<Vec<Recomputed<Block>>>,
    norm: BatchNorm2d,
    act: Act,
}

fn build(blocks_per_stage: usize, factor: usize, layers: Layers) -> Result<Box<dyn Model>> {
    let mut inputs = WIDTHS[0];
    let conv = layers.pp("conv1");
    let conv = conv.conv(layers.spec.in_chans, inputs, Conv2dConfig::same(3))?;
    let mut info = vec![FeatureInfo::new(inputs, 1, "conv1")];
    let mut stages = Vec::with_capacity(WIDTHS.len());
    for (stage, width) in WIDTHS.into_iter().enumerate() {
        let last = stage + 1 == WIDTHS.len();
        let name = format!("block{}", stage + 1);
        let layers = layers.pp(&name).pp("layer");
        let outputs = width * factor;
        let mut blocks = Vec::with_capacity(blocks_per_stage);
        for i in 0..blocks_per_stage {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            let index = stage * blocks_per_stage + i;
            let drop_path = layers.drop_path(index, WIDTHS.len() * blocks_per_stage)?;
            let layers = layers.pp(i);
            let block = Block::new(inputs, outputs, stride, drop_path, &layers)?;
            blocks.push(layers.block(block));
            inputs = outputs;
        }
        stages.push(blocks);
        let module = if last { "act1".to_string() } else { name };
        info.push(FeatureInfo::new(outputs, 1 << stage, module));
    }
    let network = WideResNet {
        conv,
        stages,
        norm: layers.pp("bn1").norm(inputs)?,
        act: layers.pp("act1").act(inputs)?,
    };
    // The blocks have the dropout.
    Classifier::boxed(network, info, inputs, "fc", &layers.without_dropout())
}

impl Backbone for WideResNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.conv.forward(images)?;
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
