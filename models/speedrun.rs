//! The network of the fastest recipes of the CIFAR-100 speedrun, which trains to 75 % in as little time as
//! possible: teams futurebiohackers and NAVIER-STOKED, github.com/AIDDA-Institute/CIFAR-100-speedrun, 2026. It
//! descends from [airbench](crate::airbench), and spends its operations on the small maps of the last group.
//!
//! A 2x2 convolution with fixed weights that whiten the patches of the training images, three groups, the sum
//! of the maximum and the mean of each plane, and a linear layer without bias. A group is a convolution, a max
//! pool, a norm and the activation (SiLU in the source), then a residual branch of two convolutions, each with
//! norm and activation.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{
    Act, BatchNorm2d, Conv2d, Conv2dConfig, ConvNormAct, DropPath, MaxPool2d, ParamStore,
    WeightInit,
};
use candle_mish::ops::{
    Pool2dParams, add, flatten_from, global_avg_pool2d, max_pool2d, pad, scale,
};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{BLOCK, GroupMatcher, STEM};
use crate::identity_init::whiten_and_pass;
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "speedrun75",
    "airbench",
    "github.com/AIDDA-Institute/CIFAR-100-speedrun",
    (8_608_312, 174_979_872),
    build,
)
.groups(GROUPS)];

const GROUPS: GroupMatcher = &[("stem.", STEM), ("body.#.", BLOCK)];

/// The side of the whitened patches.
const PATCH: usize = 2;
/// The scale of the logits.
const SCALE: f64 = 1.25 / 9.0;
/// Channels, kernel of the first convolution, channels inside the branch, and kernels of the branch.
const STAGES: [(usize, usize, usize, [usize; 2]); 3] = [
    (64, 3, 64, [1, 1]),
    (256, 3, 192, [3, 1]),
    (768, 2, 512, [3, 3]),
];

struct Group {
    conv1: Conv2d,
    pool: MaxPool2d,
    pool_bn1: BatchNorm2d,
    act1: Act,
    conv_a: ConvNormAct,
    conv_b: ConvNormAct,
    drop_path: DropPath,
}

impl ModuleT for Group {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.conv1.forward(&padded(x, &self.conv1)?)?;
        let x = self.pool.forward(&x)?;
        let x = self.pool_bn1.forward_act(&x, None, &self.act1, train)?;
        let y = self.conv_a.forward_t(&x, train)?;
        let y = self.conv_b.forward_t(&y, train)?;
        add(&x, &self.drop_path.forward_t(&y, train)?)
    }
}

/// `x` with a row and a column of zeros at its end if the kernel of `conv` is even, so that the
/// convolution keeps its size: PyTorch's `padding="same"`.
fn padded(x: &Tensor, conv: &Conv2d) -> Result<Tensor> {
    let (_, _, height, width) = conv.weight().dims4()?;
    let x = match height % 2 {
        0 => &pad(x, 2, 0, 1)?,
        _ => x,
    };
    match width % 2 {
        0 => pad(x, 3, 0, 1),
        _ => Ok(x.clone()),
    }
}

struct Speedrun {
    stem: Conv2d,
    act: Act,
    groups: Vec<Recomputed<Group>>,
}

fn build(root: Layers) -> Result<Box<dyn Model>> {
    let layers = root.with_conv_init(WeightInit::Default);
    let in_chans = layers.spec.in_chans;
    // Each principal component of a patch, and its negative.
    let width = 2 * in_chans * PATCH * PATCH;
    let config = Conv2dConfig::same(PATCH).padding(0).bias(true);
    let stem = layers.pp("stem.conv").conv(in_chans, width, config)?;
    let act = layers.pp("body.0").act(width)?;
    let mut info = vec![FeatureInfo::new(width, 1, "body.0")];
    let mut groups = Vec::new();
    let mut inputs = width;
    for (i, (outputs, kernel, hidden, branch)) in (1..).zip(STAGES) {
        let name = format!("body.{i}");
        let path = layers.pp(&name);
        let config = Conv2dConfig::same(kernel).padding((kernel - 1) / 2);
        let [a, b] = branch.map(Conv2dConfig::same);
        groups.push(layers.block(Group {
            conv1: path.pp("conv1").conv(inputs, outputs, config)?,
            pool: MaxPool2d::new(Pool2dParams::new((2, 2))),
            pool_bn1: path.pp("pool_bn1").norm(outputs)?,
            act1: path.pp("act1").act(outputs)?,
            conv_a: path.conv_norm_act(("conv_a", "bn_a", "act_a"), outputs, hidden, a)?,
            conv_b: path.conv_norm_act(("conv_b", "bn_b", "act_b"), hidden, outputs, b)?,
            drop_path: path.drop_path(i - 1, STAGES.len())?,
        }));
        info.push(FeatureInfo::new(outputs, 1 << i, name));
        inputs = outputs;
    }
    let network = Speedrun {
        stem: stem.with_fixed_weight(),
        act,
        groups,
    };
    Classifier::without_bias(network, info, inputs, "head", &layers)
}

impl Backbone for Speedrun {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.act.forward_t(&self.stem.forward(images)?, train)?;
        taps.offer(&x);
        for group in &self.groups {
            x = group.forward_t(&x, train)?;
            taps.offer(&x);
        }
        let (_, _, height, width) = x.dims4()?;
        let maximum = max_pool2d(&x, &Pool2dParams::new((height, width)))?;
        let x = add(&flatten_from(&maximum, 1)?, &global_avg_pool2d(&x)?)?;
        // Without a bias, scaling the features scales the logits.
        scale(&x, SCALE)
    }

    fn prepare(&self, store: &ParamStore, images: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        whiten_and_pass(store, "stem.conv", images)
    }
}
