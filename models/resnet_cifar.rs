//! ResNet v1 for 32x32 images: He et al., "Deep Residual Learning for Image Recognition"
//! (2015, arXiv:1512.03385), section 4.2.
//!
//! A 3x3 convolution to 16 channels, three stages of n basic blocks with 16, 32 and 64 channels
//! at 32x32, 16x16 and 8x8, global average pooling and a classifier: 6n + 2 layers. The paper
//! pads the shortcut with zeros where the shape changes (option A); here it is a 1x1
//! convolution with batch norm (option B), as in its ImageNet networks and in torchvision.

use candle_core::{Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, DropPath};
use candle_mish::ops::global_avg_pool2d;
use candle_nn::{ModuleT, VarBuilder};

use crate::classifier::{Backbone, Classifier};
use crate::layers::{Layers, ResidualConv};
use crate::registry::{Build, Entry};
use crate::{Model, Options};

const fn variant(name: &'static str, size: (usize, u64), build: Build) -> Entry {
    Entry::new(name, "resnet", "arXiv:1512.03385", size, build)
}

pub(crate) const ENTRIES: [Entry; 6] = [
    variant("resnet20", (278_324, 40_818_944), |o, vb| build(3, o, vb)),
    variant("resnet32", (472_756, 69_130_496), |o, vb| build(5, o, vb)),
    variant("resnet44", (667_188, 97_442_048), |o, vb| build(7, o, vb)),
    variant("resnet56", (861_620, 125_753_600), |o, vb| build(9, o, vb)),
    variant("resnet110", (1_736_564, 253_155_584), |o, vb| {
        build(18, o, vb)
    }),
    variant("resnet164", (2_611_508, 380_557_568), |o, vb| {
        build(27, o, vb)
    }),
];

const WIDTHS: [usize; 3] = [16, 32, 64];

/// Two 3x3 convolutions and the shortcut around them.
struct BasicBlock {
    conv1: ConvNormAct,
    conv2: ResidualConv,
    downsample: Option<ConvNormAct>,
}

impl BasicBlock {
    fn new(
        inputs: usize,
        outputs: usize,
        stride: usize,
        drop_path: DropPath,
        layers: &Layers,
    ) -> Result<Self> {
        let (conv3x3, conv1x1) = (Conv2dConfig::same(3), Conv2dConfig::same(1).stride(stride));
        let (first, second) = (("conv1", "bn1", "act1"), ("conv2", "bn2", "act2"));
        let downsample = if stride != 1 || inputs != outputs {
            let layers = layers.pp("downsample");
            Some(layers.conv_norm(("0", "1"), inputs, outputs, conv1x1)?)
        } else {
            None
        };
        Ok(Self {
            conv1: layers.conv_norm_act(first, inputs, outputs, conv3x3.stride(stride))?,
            conv2: layers
                .residual_conv(second, outputs, outputs, conv3x3)?
                .with_drop_path(drop_path),
            downsample,
        })
    }
}

impl ModuleT for BasicBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some(projection) => projection.forward_t(x, train)?,
            None => x.clone(),
        };
        let y = self.conv1.forward_t(x, train)?;
        self.conv2.forward(&y, &shortcut, train)
    }
}

struct ResNet {
    stem: ConvNormAct,
    blocks: Vec<BasicBlock>,
}

fn build(blocks_per_stage: usize, options: &Options, vb: VarBuilder) -> Result<Box<dyn Model>> {
    let layers = Layers::new(options, vb);
    let names = ("conv1", "bn1", "act1");
    let mut inputs = WIDTHS[0];
    let stem = layers.conv_norm_act(names, options.in_channels, inputs, Conv2dConfig::same(3))?;
    let mut blocks = Vec::with_capacity(WIDTHS.len() * blocks_per_stage);
    for (stage, outputs) in WIDTHS.into_iter().enumerate() {
        let layers = layers.pp(format!("layer{}", stage + 1));
        for block in 0..blocks_per_stage {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let drop_path = layers.drop_path(blocks.len(), blocks.capacity())?;
            let layers = layers.pp(block);
            blocks.push(BasicBlock::new(
                inputs, outputs, stride, drop_path, &layers,
            )?);
            inputs = outputs;
        }
    }
    Classifier::boxed(ResNet { stem, blocks }, inputs, "fc", &layers)
}

impl Backbone for ResNet {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = self.stem.forward_t(images, train)?;
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
        }
        global_avg_pool2d(&x)
    }
}
