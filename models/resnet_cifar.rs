//! ResNet v1 for 32x32 images: He et al., "Deep Residual Learning for Image Recognition"
//! (2015, arXiv:1512.03385), section 4.2.
//!
//! A 3x3 convolution to 16 channels, three stages of n basic blocks with 16, 32 and 64 channels
//! at 32x32, 16x16 and 8x8, global average pooling and a classifier: 6n + 2 layers. The paper
//! pads the shortcut with zeros where the shape changes (option A); here it is a 1x1
//! convolution with batch norm (option B), as in its ImageNet networks and in torchvision.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Linear, WeightInit, gain};
use candle_mish::ops::global_avg_pool2d;
use candle_nn::{ModuleT, VarBuilder};

use crate::registry::{Build, Entry};
use crate::{Model, Options};

const fn variant(name: &'static str, params: usize, build: Build) -> Entry {
    Entry::cifar(name, "resnet", "arXiv:1512.03385", params, build)
}

pub(crate) const ENTRIES: [Entry; 6] = [
    variant("resnet20", 278_324, |o, vb| ResNet::boxed(3, o, vb)),
    variant("resnet32", 472_756, |o, vb| ResNet::boxed(5, o, vb)),
    variant("resnet44", 667_188, |o, vb| ResNet::boxed(7, o, vb)),
    variant("resnet56", 861_620, |o, vb| ResNet::boxed(9, o, vb)),
    variant("resnet110", 1_736_564, |o, vb| ResNet::boxed(18, o, vb)),
    variant("resnet164", 2_611_508, |o, vb| ResNet::boxed(27, o, vb)),
];

const WIDTHS: [usize; 3] = [16, 32, 64];

/// Two 3x3 convolutions and the shortcut around them.
struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    act1: Act,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    act2: Act,
    downsample: Option<(Conv2d, BatchNorm2d)>,
}

impl BasicBlock {
    fn new(
        inputs: usize,
        outputs: usize,
        stride: usize,
        options: &Options,
        vb: VarBuilder,
    ) -> Result<Self> {
        let gain = gain(&options.activation);
        let init = WeightInit::KaimingFanOut { gain };
        let conv3x3 = Conv2dConfig::same(3).init(init);
        let conv1x1 = Conv2dConfig::same(1).init(init);
        let downsample = if stride != 1 || inputs != outputs {
            let vb = vb.pp("downsample");
            Some((
                Conv2d::new(inputs, outputs, conv1x1.stride(stride), vb.pp(0))?,
                BatchNorm2d::new(outputs, vb.pp(1))?,
            ))
        } else {
            None
        };
        let act = |name| {
            Act::new(
                &options.activation,
                outputs,
                vb.pp(name),
                &options.generator,
            )
        };
        Ok(Self {
            conv1: Conv2d::new(inputs, outputs, conv3x3.stride(stride), vb.pp("conv1"))?,
            bn1: BatchNorm2d::new(outputs, vb.pp("bn1"))?,
            act1: act("act1")?,
            conv2: Conv2d::new(outputs, outputs, conv3x3, vb.pp("conv2"))?,
            bn2: BatchNorm2d::new(outputs, vb.pp("bn2"))?,
            act2: act("act2")?,
            downsample,
        })
    }
}

impl ModuleT for BasicBlock {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            Some((conv, bn)) => bn.forward_t(&conv.forward(x)?, train)?,
            None => x.clone(),
        };
        let y = self.conv1.forward(x)?;
        let y = self.bn1.forward_act(&y, None, &self.act1, train)?;
        let y = self.conv2.forward(&y)?;
        self.bn2.forward_act(&y, Some(&shortcut), &self.act2, train)
    }
}

struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    act1: Act,
    blocks: Vec<BasicBlock>,
    dropout: Dropout,
    fc: Linear,
}

impl ResNet {
    fn boxed(blocks_per_stage: usize, options: &Options, vb: VarBuilder) -> Result<Box<dyn Model>> {
        let gain = gain(&options.activation);
        let stem = Conv2dConfig::same(3).init(WeightInit::KaimingFanOut { gain });
        let conv1 = Conv2d::new(options.in_channels, WIDTHS[0], stem, vb.pp("conv1"))?;
        let bn1 = BatchNorm2d::new(WIDTHS[0], vb.pp("bn1"))?;
        let act = &options.activation;
        let act1 = Act::new(act, WIDTHS[0], vb.pp("act1"), &options.generator)?;
        let mut blocks = Vec::with_capacity(WIDTHS.len() * blocks_per_stage);
        let mut inputs = WIDTHS[0];
        for (stage, outputs) in WIDTHS.into_iter().enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            for block in 0..blocks_per_stage {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let vb = vb.pp(block);
                blocks.push(BasicBlock::new(inputs, outputs, stride, options, vb)?);
                inputs = outputs;
            }
        }
        Ok(Box::new(Self {
            conv1,
            bn1,
            act1,
            blocks,
            dropout: Dropout::new(options.drop_rate, &options.generator)?,
            fc: Linear::new(inputs, options.num_classes, true, vb.pp("fc"))?,
        }))
    }
}

impl Model for ResNet {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.conv1.forward(images)?;
        let mut x = self.bn1.forward_act(&x, None, &self.act1, train)?;
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
        }
        global_avg_pool2d(&x)
    }

    fn num_features(&self) -> usize {
        WIDTHS[2]
    }
}

impl ModuleT for ResNet {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.features(images, train)?;
        self.fc.forward(&self.dropout.forward_t(&x, train)?)
    }
}
