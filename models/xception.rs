//! Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2016,
//! arXiv:1610.02357), figure 5, as timm's `legacy_xception`; and its "aligned" successor of Chen
//! et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation"
//! (2018, arXiv:1802.02611), figure 4, as timm's `xception41`.
//!
//! Both are residual blocks of depthwise separable convolutions: the first three and the last
//! halve the size, the eight in the middle keep it, and a few separable convolutions without a
//! shortcut follow. The original has no norm between a depthwise convolution and its 1x1
//! convolution, and halves the size by max pooling; the aligned one has, and halves it by the
//! stride of the last convolution of a block.
//!
//! For 32x32 images the first convolution has stride 1, and those of the stem keep the size, as
//! in the usual CIFAR ports: the last maps are 2x2. The papers' and timm's activation is ReLU;
//! the original's dropout of 0.5 in front of the classifier is to be asked for.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, Conv2d, Conv2dConfig, ConvNormAct, DropPath};
use candle_mish::ops::{Pool2dParams, add, global_avg_pool2d, max_pool2d};
use candle_nn::{ModuleT, VarBuilder};

use crate::classifier::{Backbone, Classifier};
use crate::layers::Layers;
use crate::registry::{Build, Entry};
use crate::{Model, Options, Stem};

const fn variant(
    name: &'static str,
    paper: &'static str,
    cifar: (usize, u64),
    imagenet: (usize, u64),
    build: Build,
) -> Entry {
    Entry::new(name, "xception", paper, cifar, build)
        .imagenet(299, imagenet)
        .recipe(RECIPE)
}

/// At the default rate the loss rises before it falls.
const RECIPE: &str = "lr = 0.05\n";

pub(crate) const ENTRIES: [Entry; 2] = [
    variant(
        "legacy_xception",
        "arXiv:1610.02357",
        (21_011_852, 375_134_464),
        (22_855_952, 8_357_403_496),
        |o, vb| build(&ORIGINAL, o, vb),
    ),
    variant(
        "xception41",
        "arXiv:1802.02611",
        (25_125_460, 406_273_664),
        (26_969_560, 9_204_134_312),
        |o, vb| build(&ALIGNED, o, vb),
    ),
];

/// What tells the two networks apart.
struct Plan {
    aligned: bool,
    /// Separable convolutions of each block of the entry flow.
    entry: usize,
    /// Output channels of the separable convolutions of the last block.
    exit: &'static [usize],
    /// Output channels of the separable convolutions behind the blocks.
    tail: &'static [usize],
}

const ORIGINAL: Plan = Plan {
    aligned: false,
    entry: 2,
    exit: &[728, 1024],
    tail: &[1536, 2048],
};

const ALIGNED: Plan = Plan {
    aligned: true,
    entry: 3,
    exit: &[728, 1024, 1024],
    tail: &[1536, 1536, 2048],
};

/// Output channels of the two convolutions of the stem.
const STEM: [usize; 2] = [32, 64];
/// Output channels of the blocks of the entry flow.
const ENTRY: [usize; 3] = [128, 256, 728];
/// Blocks of the middle flow, which have three separable convolutions of the same channels.
const MIDDLE: usize = 8;

impl Plan {
    /// Of every block, the output channels of its separable convolutions, and its stride.
    fn blocks(&self) -> Vec<(Vec<usize>, usize)> {
        let entry = ENTRY.map(|channels| (vec![channels; self.entry], 2));
        let middle = (vec![ENTRY[2]; 3], 1);
        let middle = std::iter::repeat_n(middle, MIDDLE);
        let exit = (self.exit.to_vec(), 2);
        entry.into_iter().chain(middle).chain([exit]).collect()
    }
}

/// Where the activations of a separable convolution are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activated {
    Before,
    After,
    /// Only the very first of the original: what comes in is activated already.
    Not,
}

/// The checkpoint keys of a separable convolution.
struct Keys {
    before: String,
    depthwise: String,
    /// Norm and activation between the two convolutions, where there is one.
    between: Option<[String; 2]>,
    /// Convolution, norm and activation.
    pointwise: [String; 3],
}

impl Keys {
    /// Of separable convolution `unit` in a residual block of the original, a list of layers that
    /// begins with an activation unless it is the first block of all.
    fn original(block: usize, unit: usize) -> Self {
        let first = if block == 0 { 3 * unit } else { 3 * unit + 1 };
        let rep = |index: usize| format!("block{}.rep.{index}", block + 1);
        Self {
            before: rep(first.saturating_sub(1)),
            depthwise: format!("{}.conv1", rep(first)),
            between: None,
            pointwise: [
                format!("{}.pointwise", rep(first)),
                rep(first + 1),
                rep(first + 2),
            ],
        }
    }

    /// Of separable convolution `unit` behind the blocks of the original.
    fn original_tail(unit: usize) -> Self {
        let number = unit + 3;
        Self {
            before: String::new(),
            depthwise: format!("conv{number}.conv1"),
            between: None,
            pointwise: [
                format!("conv{number}.pointwise"),
                format!("bn{number}"),
                format!("act{number}"),
            ],
        }
    }

    /// Of separable convolution `unit` of a block of the aligned network.
    fn aligned(block: usize, unit: usize) -> Self {
        let stack = format!("blocks.{block}.stack");
        let part = |name: &str| format!("{stack}.conv{}.{name}", unit + 1);
        Self {
            before: format!("{stack}.act{}", unit + 1),
            depthwise: part("conv_dw"),
            between: Some([part("bn_dw"), part("act_dw")]),
            pointwise: [part("conv_pw"), part("bn_pw"), part("act_pw")],
        }
    }
}

/// The depthwise convolution, with or without a norm of its own.
enum Depthwise {
    Bare(Conv2d),
    Normed(ConvNormAct),
}

/// A depthwise 3x3 convolution and a 1x1 convolution.
struct Separable {
    act: Option<Act>,
    depthwise: Depthwise,
    pointwise: ConvNormAct,
}

impl Separable {
    fn new(
        inputs: usize,
        outputs: usize,
        stride: usize,
        activated: Activated,
        keys: &Keys,
        layers: &Layers,
    ) -> Result<Self> {
        let act = match activated {
            Activated::Before => Some(layers.pp(&keys.before).act(inputs)?),
            Activated::After | Activated::Not => None,
        };
        let normed = |conv: &str, norm: &str, act: &str, outputs, config| match activated {
            Activated::After => layers.conv_norm_act((conv, norm, act), inputs, outputs, config),
            Activated::Before | Activated::Not => {
                layers.conv_norm((conv, norm), inputs, outputs, config)
            }
        };
        let conv3x3 = Conv2dConfig::same(3).stride(stride).groups(inputs);
        let depthwise = match &keys.between {
            None => {
                let layers = layers.pp(&keys.depthwise);
                Depthwise::Bare(layers.conv(inputs, inputs, conv3x3)?)
            }
            Some([norm, act]) => {
                Depthwise::Normed(normed(&keys.depthwise, norm, act, inputs, conv3x3)?)
            }
        };
        let [conv, norm, after] = &keys.pointwise;
        Ok(Self {
            act,
            depthwise,
            pointwise: normed(conv, norm, after, outputs, Conv2dConfig::same(1))?,
        })
    }
}

impl ModuleT for Separable {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = match &self.act {
            Some(act) => act.forward_t(x, train)?,
            None => x.clone(),
        };
        let x = match &self.depthwise {
            Depthwise::Bare(conv) => conv.forward(&x)?,
            Depthwise::Normed(conv) => conv.forward_t(&x, train)?,
        };
        self.pointwise.forward_t(&x, train)
    }
}

/// Separable convolutions, perhaps pooling, and the shortcut around them.
struct Block {
    units: Vec<Separable>,
    pool: Option<Pool2dParams>,
    drop_path: DropPath,
    shortcut: Option<ConvNormAct>,
}

impl Block {
    fn new(
        inputs: usize,
        channels: &[usize],
        stride: usize,
        index: usize,
        plan: &Plan,
        drop_path: DropPath,
        layers: &Layers,
    ) -> Result<Self> {
        let mut units = Vec::with_capacity(channels.len());
        let mut width = inputs;
        for (unit, outputs) in channels.iter().enumerate() {
            let (keys, strided) = if plan.aligned {
                let last = unit + 1 == channels.len();
                (Keys::aligned(index, unit), if last { stride } else { 1 })
            } else {
                (Keys::original(index, unit), 1)
            };
            let activated = if !plan.aligned && index == 0 && unit == 0 {
                Activated::Not
            } else {
                Activated::Before
            };
            units.push(Separable::new(
                width, *outputs, strided, activated, &keys, layers,
            )?);
            width = *outputs;
        }
        let shortcut = if stride != 1 || inputs != width {
            let names = if plan.aligned {
                ["conv", "bn"].map(|name| format!("blocks.{index}.shortcut.{name}"))
            } else {
                ["skip", "skipbn"].map(|name| format!("block{}.{name}", index + 1))
            };
            let config = Conv2dConfig::same(1).stride(stride);
            Some(layers.conv_norm((&names[0], &names[1]), inputs, width, config)?)
        } else {
            None
        };
        let pool = Pool2dParams::new((3, 3))
            .with_stride((stride, stride))
            .with_padding((1, 1));
        Ok(Self {
            units,
            pool: (stride != 1 && !plan.aligned).then_some(pool),
            drop_path,
            shortcut,
        })
    }
}

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut units = self.units.iter();
        let mut y = units.try_fold(x.clone(), |y, unit| unit.forward_t(&y, train))?;
        if let Some(pool) = &self.pool {
            y = max_pool2d(&y, pool)?;
        }
        let y = self.drop_path.forward_t(&y, train)?;
        match &self.shortcut {
            Some(projection) => add(&y, &projection.forward_t(x, train)?),
            None => add(&y, x),
        }
    }
}

struct Xception {
    stem: [ConvNormAct; 2],
    blocks: Vec<Block>,
    tail: Vec<Separable>,
}

/// The two convolutions in front of the blocks.
fn stem(plan: &Plan, layers: &Layers) -> Result<[ConvNormAct; 2]> {
    let keys = if plan.aligned {
        [0, 1].map(|i| ["conv", "bn", "bn.act"].map(|name| format!("stem.{i}.{name}")))
    } else {
        [1, 2].map(|i| ["conv", "bn", "act"].map(|name| format!("{name}{i}")))
    };
    let conv3x3 = Conv2dConfig::same(3);
    let (stride, padding) = match layers.options.stem {
        Stem::Cifar => (1, 1),
        Stem::ImageNet => (2, if plan.aligned { 1 } else { 0 }),
    };
    let conv = |[conv, norm, act]: &[String; 3], inputs, outputs, stride| {
        let config = conv3x3.stride(stride).padding(padding);
        layers.conv_norm_act((conv, norm, act), inputs, outputs, config)
    };
    let inputs = layers.options.in_channels;
    Ok([
        conv(&keys[0], inputs, STEM[0], stride)?,
        conv(&keys[1], STEM[0], STEM[1], 1)?,
    ])
}

fn build(plan: &Plan, options: &Options, vb: VarBuilder) -> Result<Box<dyn Model>> {
    let eps = if plan.aligned { 1e-3 } else { 1e-5 };
    let layers = Layers::new(options, vb).with_norm(eps, 0.1);
    let stem = stem(plan, &layers)?;
    let mut inputs = STEM[1];
    let rows = plan.blocks();
    let mut blocks = Vec::with_capacity(rows.len());
    for (index, (channels, stride)) in rows.iter().enumerate() {
        let drop_path = layers.drop_path(index, rows.len())?;
        blocks.push(Block::new(
            inputs, channels, *stride, index, plan, drop_path, &layers,
        )?);
        inputs = channels.last().copied().unwrap_or(inputs);
    }
    let mut tail = Vec::with_capacity(plan.tail.len());
    for (unit, outputs) in plan.tail.iter().enumerate() {
        let keys = if plan.aligned {
            Keys::aligned(rows.len(), unit)
        } else {
            Keys::original_tail(unit)
        };
        let after = Activated::After;
        tail.push(Separable::new(inputs, *outputs, 1, after, &keys, &layers)?);
        inputs = *outputs;
    }
    let classifier = if plan.aligned { "head.fc" } else { "fc" };
    let network = Xception { stem, blocks, tail };
    Classifier::boxed(network, inputs, classifier, &layers)
}

impl Backbone for Xception {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = images.clone();
        for conv in &self.stem {
            x = conv.forward_t(&x, train)?;
        }
        for block in &self.blocks {
            x = block.forward_t(&x, train)?;
        }
        for unit in &self.tail {
            x = unit.forward_t(&x, train)?;
        }
        global_avg_pool2d(&x)
    }
}
