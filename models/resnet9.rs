//! ResNet-9 for 32x32 images: David Page, "How to train your ResNet" (2018), part 4, the network
//! that won DAWNBench's CIFAR-10 training.
//!
//! 3x3 convolutions to 64, 128, 256 and 512 channels, a max pool after all but the first, and a
//! residual branch of two more convolutions after the second and the last. No activation follows
//! the sum. The maximum of each plane goes to a linear layer without bias, whose logits are scaled
//! by 1/8.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, DropPath, MaxPool2d};
use candle_mish::ops::{Pool2dParams, add, flatten_from, max_pool2d, scale};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "resnet9",
    "resnet9",
    "Page, How to train your ResNet, 2018",
    (6_619_200, 379_308_032),
    build,
)
.groups(GROUPS)];

const GROUPS: GroupMatcher = &[("prep.", STEM), ("layer#.", BLOCK)];

/// Output channels of the first convolution.
const STEM_CHANNELS: usize = 64;
/// The channels of each stage, and whether it ends with a residual branch.
const STAGES: [(usize, bool); 3] = [(128, true), (256, false), (512, true)];
/// The scale of the logits.
const SCALE: f64 = 0.125;

/// Two convolutions with a shortcut.
struct Residual {
    res1: ConvNormAct,
    res2: ConvNormAct,
    drop_path: DropPath,
}

impl ModuleT for Residual {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.res1.forward_t(x, train)?;
        let y = self.res2.forward_t(&y, train)?;
        add(x, &self.drop_path.forward_t(&y, train)?)
    }
}

/// A convolution, a max pool, and a residual branch if the stage has one.
struct Stage {
    conv: ConvNormAct,
    pool: MaxPool2d,
    residual: Option<Residual>,
}

impl ModuleT for Stage {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.pool.forward(&self.conv.forward_t(x, train)?)?;
        match &self.residual {
            Some(residual) => residual.forward_t(&x, train),
            None => Ok(x),
        }
    }
}

struct ResNet9 {
    prep: ConvNormAct,
    stages: Vec<Recomputed<Stage>>,
}

fn conv(inputs: usize, outputs: usize, layers: &Layers) -> Result<ConvNormAct> {
    layers.conv_norm_act(
        ("conv", "bn", "act"),
        inputs,
        outputs,
        Conv2dConfig::same(3),
    )
}

fn build(layers: Layers) -> Result<Box<dyn Model>> {
    let prep = conv(layers.spec.in_chans, STEM_CHANNELS, &layers.pp("prep"))?;
    let mut info = vec![FeatureInfo::new(STEM_CHANNELS, 1, "prep")];
    let branches = STAGES.iter().filter(|(_, residual)| *residual).count();
    let mut stages = Vec::with_capacity(STAGES.len());
    let (mut inputs, mut branch) = (STEM_CHANNELS, 0);
    for (i, (outputs, residual)) in (1..).zip(STAGES) {
        let name = format!("layer{i}");
        let path = layers.pp(&name);
        let residual = if residual {
            let drop_path = layers.drop_path(branch, branches)?;
            branch += 1;
            let path = path.pp("residual");
            Some(Residual {
                res1: conv(outputs, outputs, &path.pp("res1"))?,
                res2: conv(outputs, outputs, &path.pp("res2"))?,
                drop_path,
            })
        } else {
            None
        };
        stages.push(layers.block(Stage {
            conv: conv(inputs, outputs, &path)?,
            pool: MaxPool2d::new(Pool2dParams::new((2, 2))),
            residual,
        }));
        inputs = outputs;
        info.push(FeatureInfo::new(outputs, 1 << i, name));
    }
    let network = ResNet9 { prep, stages };
    Classifier::without_bias(network, info, inputs, "linear", &layers)
}

impl Backbone for ResNet9 {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.prep.forward_t(images, train)?;
        taps.offer(&x);
        for stage in &self.stages {
            x = stage.forward_t(&x, train)?;
            taps.offer(&x);
        }
        let (_, _, height, width) = x.dims4()?;
        let x = max_pool2d(&x, &Pool2dParams::new((height, width)))?;
        // Without a bias, scaling the features scales the logits.
        scale(&flatten_from(&x, 1)?, SCALE)
    }
}
