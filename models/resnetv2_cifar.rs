//! ResNet v2 for 32x32 images: He et al., "Identity Mappings in Deep Residual Networks" (2016,
//! arXiv:1603.05027), in the form of the Keras CIFAR example that the Mish paper trains.
//!
//! Pre-activation bottlenecks in three stages of n blocks, 9n + 2 layers. The bottleneck widths
//! are 16, 64 and 128, the block's outputs 64, 128 and 256 channels; every convolution has a
//! bias; the first block of a stage has a 1x1 convolution without norm as its shortcut, and the
//! very first block starts without norm and activation, since the stem ends with them.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, WeightInit, gain};
use candle_mish::ops::{add, global_avg_pool2d};
use candle_nn::{ModuleT, VarBuilder};

use crate::registry::{Build, Entry};
use crate::{Model, Options};

const fn variant(name: &'static str, params: usize, build: Build) -> Entry {
    Entry::cifar(name, "resnet", "arXiv:1603.05027", params, build)
}

pub(crate) const ENTRIES: [Entry; 5] = [
    variant("resnetv2_20", 593_732, |o, vb| ResNetV2::boxed(2, o, vb)),
    variant("resnetv2_56", 1_686_468, |o, vb| ResNetV2::boxed(6, o, vb)),
    variant("resnetv2_110", 3_325_572, |o, vb| {
        ResNetV2::boxed(12, o, vb)
    }),
    variant("resnetv2_164", 4_964_676, |o, vb| {
        ResNetV2::boxed(18, o, vb)
    }),
    variant("resnetv2_245", 7_423_332, |o, vb| {
        ResNetV2::boxed(27, o, vb)
    }),
];

const STEM: usize = 16;
/// Bottleneck width and output channels of each stage.
const STAGES: [(usize, usize); 3] = [(16, 64), (64, 128), (128, 256)];

/// Norm and activation in front of a convolution.
struct PreAct {
    norm_act: Option<(BatchNorm2d, Act)>,
    conv: Conv2d,
}

impl ModuleT for PreAct {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match &self.norm_act {
            Some((bn, act)) => self.conv.forward(&bn.forward_act(x, None, act, train)?),
            None => self.conv.forward(x),
        }
    }
}

/// 1x1, 3x3 and 1x1 convolutions and the shortcut around them.
struct Bottleneck {
    convs: [PreAct; 3],
    downsample: Option<Conv2d>,
}

/// What distinguishes a block from the others.
struct BlockConfig {
    inputs: usize,
    width: usize,
    outputs: usize,
    stride: usize,
    first_in_stage: bool,
    first_in_network: bool,
}

impl Bottleneck {
    fn new(config: &BlockConfig, options: &Options, vb: VarBuilder) -> Result<Self> {
        let gain = gain(&options.activation);
        let init = WeightInit::KaimingFanOut { gain };
        let conv = |kernel| Conv2dConfig::same(kernel).bias(true).init(init);
        let pre_act = |i: usize, inputs, outputs, conv, bare: bool| -> Result<PreAct> {
            let norm_act = if bare {
                None
            } else {
                let act = vb.pp(format!("act{i}"));
                Some((
                    BatchNorm2d::new(inputs, vb.pp(format!("bn{i}")))?,
                    Act::new(&options.activation, inputs, act, &options.generator)?,
                ))
            };
            let conv = Conv2d::new(inputs, outputs, conv, vb.pp(format!("conv{i}")))?;
            Ok(PreAct { norm_act, conv })
        };
        let &BlockConfig {
            inputs,
            width,
            outputs,
            stride,
            ..
        } = config;
        let entry = conv(1).stride(stride);
        let downsample = if config.first_in_stage {
            Some(Conv2d::new(
                inputs,
                outputs,
                entry,
                vb.pp("downsample").pp(0),
            )?)
        } else {
            None
        };
        Ok(Self {
            convs: [
                pre_act(1, inputs, width, entry, config.first_in_network)?,
                pre_act(2, width, width, conv(3), false)?,
                pre_act(3, width, outputs, conv(1), false)?,
            ],
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
        let mut y = x.clone();
        for conv in &self.convs {
            y = conv.forward_t(&y, train)?;
        }
        add(&y, &shortcut)
    }
}

struct ResNetV2 {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    act1: Act,
    blocks: Vec<Bottleneck>,
    bn: BatchNorm2d,
    act: Act,
    dropout: Dropout,
    fc: Linear,
}

impl ResNetV2 {
    fn boxed(blocks_per_stage: usize, options: &Options, vb: VarBuilder) -> Result<Box<dyn Model>> {
        let gain = gain(&options.activation);
        let init = WeightInit::KaimingFanOut { gain };
        let stem = Conv2dConfig::same(3).bias(true).init(init);
        let act = |channels, vb| Act::new(&options.activation, channels, vb, &options.generator);
        let conv1 = Conv2d::new(options.in_channels, STEM, stem, vb.pp("conv1"))?;
        let bn1 = BatchNorm2d::new(STEM, vb.pp("bn1"))?;
        let act1 = act(STEM, vb.pp("act1"))?;
        let mut blocks = Vec::with_capacity(STAGES.len() * blocks_per_stage);
        let mut inputs = STEM;
        for (stage, (width, outputs)) in STAGES.into_iter().enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            for block in 0..blocks_per_stage {
                let first_in_stage = block == 0;
                let config = BlockConfig {
                    inputs,
                    width,
                    outputs,
                    stride: if stage > 0 && first_in_stage { 2 } else { 1 },
                    first_in_stage,
                    first_in_network: stage == 0 && first_in_stage,
                };
                blocks.push(Bottleneck::new(&config, options, vb.pp(block))?);
                inputs = outputs;
            }
        }
        Ok(Box::new(Self {
            conv1,
            bn1,
            act1,
            blocks,
            bn: BatchNorm2d::new(inputs, vb.pp("bn"))?,
            act: act(inputs, vb.pp("act"))?,
            dropout: Dropout::new(options.drop_rate, &options.generator)?,
            fc: Linear::new(inputs, options.num_classes, true, vb.pp("fc"))?,
        }))
    }
}

impl Model for ResNetV2 {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.conv1.forward(images)?;
        let mut x = self.bn1.forward_act(&x, None, &self.act1, train)?;
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
        }
        global_avg_pool2d(&self.bn.forward_act(&x, None, &self.act, train)?)
    }

    fn num_features(&self) -> usize {
        STAGES[2].1
    }
}

impl ModuleT for ResNetV2 {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.features(images, train)?;
        self.fc.forward(&self.dropout.forward_t(&x, train)?)
    }
}
