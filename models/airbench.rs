//! The networks of airbench94 and airbench95 for 32x32 images: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a
//! Single GPU" (arXiv:2404.00498), as in `airbench94_muon.py` of github.com/KellerJordan/cifar10-airbench. The
//! widths of airbench95 are those of `airbench95.py`, whose scale of the logits, for SGD, is another.
//!
//! A 2x2 convolution with fixed weights that whiten the patches of the training images, three blocks, the
//! maximum of each plane, and a linear layer without bias whose logits are divided by the number of its inputs.
//! The norms have no scale that learns. A block is a 3x3 convolution, a max pool, a norm, the activation
//! (GELU in the source), and a second convolution, norm and activation.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNormAct, MaxPool2d, ParamStore, WeightInit,
};
use candle_mish::ops::{Pool2dParams, flatten_from, max_pool2d, scale};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::identity_init::whiten_and_pass;
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;

pub(crate) const ENTRIES: [Entry; 2] = [
    Entry::new(
        "airbench94",
        "airbench",
        "arXiv:2404.00498",
        (1_995_832, 118_170_400),
        |root| build([64, 256, 256], root),
    )
    .groups(GROUPS),
    Entry::new(
        "airbench95",
        "airbench",
        "arXiv:2404.00498",
        (4_641_080, 301_595_424),
        |root| build([128, 384, 384], root),
    )
    .groups(GROUPS),
];

const GROUPS: GroupMatcher = &[("whiten.", STEM), ("layers.#.", BLOCK)];

/// The side of the whitened patches.
const PATCH: usize = 2;
/// The term that the source adds to the variance in norms. The running statistics follow fast.
const NORM_EPS: f64 = 1e-12;
const NORM_MOMENTUM: f64 = 0.4;

struct Block {
    conv1: Conv2d,
    pool: MaxPool2d,
    norm1: BatchNorm2d,
    act1: Act,
    conv2: ConvNormAct,
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.pool.forward(&self.conv1.forward(x)?)?;
        let x = self.norm1.forward_act(&x, None, &self.act1, train)?;
        self.conv2.forward_t(&x, train)
    }
}

struct Airbench {
    whiten: Conv2d,
    act: Act,
    blocks: Vec<Recomputed<Block>>,
}

/// The network whose blocks have `widths` channels.
fn build(widths: [usize; 3], root: Layers) -> Result<Box<dyn Model>> {
    let layers = root
        .with_norm(NORM_EPS, NORM_MOMENTUM)
        .with_fixed_norm_scales()
        .with_conv_init(WeightInit::Default)
        // A standard deviation of 1.
        .with_head_init(WeightInit::KaimingUniform {
            gain: (widths[2] as f64).sqrt(),
        });
    let in_chans = layers.spec.in_chans;
    // Each principal component of a patch, and its negative.
    let width = 2 * in_chans * PATCH * PATCH;
    let config = Conv2dConfig::same(PATCH).padding(0).bias(true);
    let whiten = layers.pp("whiten").conv(in_chans, width, config)?;
    let act = layers.pp("layers.0").act(width)?;
    let mut info = vec![FeatureInfo::new(width, 1, "layers.0")];
    let mut blocks = Vec::new();
    let mut inputs = width;
    for (i, outputs) in (1..).zip(widths) {
        let name = format!("layers.{i}");
        let path = layers.pp(&name);
        let config = Conv2dConfig::same(3);
        blocks.push(layers.block(Block {
            conv1: path.pp("conv1").conv(inputs, outputs, config)?,
            pool: MaxPool2d::new(Pool2dParams::new((2, 2))),
            norm1: path.pp("norm1").norm(outputs)?,
            act1: path.pp("act1").act(outputs)?,
            conv2: path.conv_norm_act(("conv2", "norm2", "act2"), outputs, outputs, config)?,
        }));
        info.push(FeatureInfo::new(outputs, 1 << i, name));
        inputs = outputs;
    }
    let network = Airbench {
        whiten: whiten.with_fixed_weight(),
        act,
        blocks,
    };
    Classifier::without_bias(network, info, inputs, "head", &layers)
}

impl Backbone for Airbench {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.act.forward_t(&self.whiten.forward(images)?, train)?;
        taps.offer(&x);
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
            taps.offer(&x);
        }
        let (_, channels, height, width) = x.dims4()?;
        let x = max_pool2d(&x, &Pool2dParams::new((height, width)))?;
        // Without a bias, scaling the features scales the logits.
        scale(&flatten_from(&x, 1)?, 1.0 / channels as f64)
    }

    fn prepare(&self, store: &ParamStore, images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        whiten_and_pass(store, "whiten", images)
    }
}
