//! Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2016,
//! arXiv:1610.02357), figure 5, as timm's `legacy_xception`; and its "aligned" successor of Chen
//! et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation"
//! (2018, arXiv:1802.02611), figure 4, as timm's `xception41`.
//!
//! Both consist of residual blocks of depthwise separable convolutions. The first three and the
//! last halve the size, the eight in the middle keep it, and a few separable convolutions without a
//! shortcut follow. The original has no norm between a depthwise convolution and its 1x1
//! convolution, and halves the size with max pooling. The aligned network has one, and halves the
//! size with the stride of a block's last convolution.
//!
//! For 32x32 images the convolutions of the stem keep the size, as in the usual CIFAR ports: the
//! last maps are 2x2. The papers' and timm's activation is ReLU. The original's dropout of 0.5
//! before the classifier is off by default.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, Conv2d, Conv2dConfig, ConvNormAct, DropPath, WeightInit};
use candle_mish::ops::{Pool2dParams, add, global_avg_pool2d, max_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::{Build, Entry, Size};
use crate::groups::{BLOCK, GroupMatcher, STEM, TAIL};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

const fn variant(
    name: &'static str,
    paper: &'static str,
    cifar: Size,
    imagenet: Size,
    build: Build,
) -> Entry {
    Entry::new(name, "xception", paper, cifar, build)
        .imagenet(299, imagenet)
        .recipe(RECIPE)
}

/// The layers of the original.
const GROUPS: GroupMatcher = &[
    ("conv1.", STEM),
    ("bn1.", STEM),
    ("act1.", STEM),
    ("conv2.", STEM),
    ("bn2.", STEM),
    ("act2.", STEM),
    ("block#.", BLOCK),
    ("conv3.", TAIL),
    ("bn3.", TAIL),
    ("conv4.", TAIL),
    ("bn4.", TAIL),
];

/// The layers of the aligned network.
const ALIGNED_GROUPS: GroupMatcher = &[("stem.", STEM), ("blocks.#.", BLOCK)];

/// At the default rate the loss rises before it falls.
const RECIPE: &str = "lr = 0.05\n";

pub(crate) const ENTRIES: [Entry; 2] = [
    variant(
        "legacy_xception",
        "arXiv:1610.02357",
        (21_011_852, 375_134_464),
        (22_855_952, 8_357_403_496),
        |root| build(&ORIGINAL, root),
    )
    .groups(GROUPS),
    variant(
        "xception41",
        "arXiv:1802.02611",
        (25_125_460, 406_273_664),
        (26_969_560, 9_204_134_312),
        |root| build(&ALIGNED, root),
    )
    .groups(ALIGNED_GROUPS),
];

/// What differs between the two networks.
struct Plan {
    /// Whether this is the aligned network.
    aligned: bool,
    /// Separable convolutions of each block of the entry flow.
    entry: usize,
    /// Output channels of the separable convolutions of the last block.
    exit: &'static [usize],
    /// Output channels of the separable convolutions after the blocks.
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
const STEM_CHANNELS: [usize; 2] = [32, 64];
/// Output channels of the blocks of the entry flow.
const ENTRY: [usize; 3] = [128, 256, 728];
/// Blocks of the middle flow, which have three separable convolutions of the same channels.
const MIDDLE: usize = 8;

impl Plan {
    /// The map that block `index` offers before it halves the size.
    fn feature_info(
        &self,
        index: usize,
        inputs: usize,
        channels: &[usize],
        reduction: usize,
    ) -> FeatureInfo {
        if self.aligned {
            let before_last = channels.len().saturating_sub(2);
            let module = format!("blocks.{index}.stack.act{}", channels.len());
            return FeatureInfo::new(channels[before_last], reduction, module);
        }
        let module = match index {
            0 => "act2".to_string(),
            _ => format!("block{}.rep.0", index + 1),
        };
        FeatureInfo::new(inputs, reduction, module)
    }

    /// The output channels of each block's separable convolutions, and its stride.
    fn blocks(&self) -> Vec<(Vec<usize>, usize)> {
        let entry = ENTRY.map(|channels| (vec![channels; self.entry], 2));
        let middle = (vec![ENTRY[2]; 3], 1);
        let middle = std::iter::repeat_n(middle, MIDDLE);
        let exit = (self.exit.to_vec(), 2);
        entry.into_iter().chain(middle).chain([exit]).collect()
    }
}

/// Where a separable convolution has its activations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activated {
    /// Before both convolutions.
    Before,
    /// After each convolution.
    After,
    /// Nowhere: the input is already activated. Only the original's first one.
    Never,
}

/// The checkpoint keys of a separable convolution.
struct Keys {
    before: String,
    depthwise: String,
    /// Norm and activation between the two convolutions, in the aligned network.
    between: Option<[String; 2]>,
    /// Convolution, norm and activation.
    pointwise: [String; 3],
}

impl Keys {
    /// The keys of separable convolution `unit` in a block of the original. A block is a list of
    /// layers that begins with an activation, except in the first block.
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

    /// The keys of separable convolution `unit` after the blocks of the original.
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

    /// The keys of separable convolution `unit` in a block of the aligned network.
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

/// The depthwise convolution, without or with its own norm.
enum Depthwise {
    Plain(Conv2d),
    Normed(Box<ConvNormAct>),
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
            Activated::After | Activated::Never => None,
        };
        let normed = |conv: &str, norm: &str, act: &str, outputs, config| match activated {
            Activated::After => layers.conv_norm_act((conv, norm, act), inputs, outputs, config),
            Activated::Before | Activated::Never => {
                layers.conv_norm((conv, norm), inputs, outputs, config)
            }
        };
        let conv3x3 = Conv2dConfig::same(3).stride(stride).groups(inputs);
        let depthwise = match &keys.between {
            None => {
                let layers = layers.pp(&keys.depthwise);
                Depthwise::Plain(layers.conv(inputs, inputs, conv3x3)?)
            }
            Some([norm, act]) => {
                Depthwise::Normed(normed(&keys.depthwise, norm, act, inputs, conv3x3)?.into())
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

impl Separable {
    /// The input of the convolutions.
    fn activate(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match &self.act {
            Some(act) => act.forward_t(x, train),
            None => Ok(x.clone()),
        }
    }

    fn convolve(&self, activated: &Tensor, train: bool) -> Result<Tensor> {
        let x = match &self.depthwise {
            Depthwise::Plain(conv) => conv.forward(activated)?,
            Depthwise::Normed(conv) => conv.forward_t(activated, train)?,
        };
        self.pointwise.forward_t(&x, train)
    }
}

impl ModuleT for Separable {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.convolve(&self.activate(x, train)?, train)
    }
}

/// Which map of a block that halves the size [`Model::feature_maps`] can return, as in timm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Map {
    /// The activated input of the first separable convolution.
    First,
    /// The activated input of the last separable convolution, which has the stride.
    Last,
}

/// Separable convolutions, a max pool in the original's strided blocks, and the shortcut.
struct Block {
    units: Vec<Separable>,
    map: Option<Map>,
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
                Activated::Never
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
        let map = if plan.aligned { Map::Last } else { Map::First };
        Ok(Self {
            units,
            map: (stride != 1).then_some(map),
            pool: (stride != 1 && !plan.aligned).then_some(pool),
            drop_path,
            shortcut,
        })
    }
}

impl Block {
    /// The block's output. A block that halves the size first offers a map of the full size.
    fn forward(&self, x: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut y = x.clone();
        for (index, unit) in self.units.iter().enumerate() {
            let activated = unit.activate(&y, train)?;
            let mapped = match self.map {
                None => false,
                Some(Map::First) => index == 0,
                Some(Map::Last) => index + 1 == self.units.len(),
            };
            if mapped {
                taps.offer(&activated);
            }
            y = unit.convolve(&activated, train)?;
        }
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

impl ModuleT for Block {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.forward(x, train, &mut Taps::none())
    }
}

struct Xception {
    stem: [ConvNormAct; 2],
    blocks: Vec<Recomputed<Block>>,
    tail: Vec<Separable>,
}

/// The two convolutions before the blocks.
fn stem(plan: &Plan, layers: &Layers) -> Result<[ConvNormAct; 2]> {
    let keys = if plan.aligned {
        [0, 1].map(|i| ["conv", "bn", "bn.act"].map(|name| format!("stem.{i}.{name}")))
    } else {
        [1, 2].map(|i| ["conv", "bn", "act"].map(|name| format!("{name}{i}")))
    };
    let conv3x3 = Conv2dConfig::same(3);
    let (stride, padding) = match layers.spec.stem {
        Stem::Cifar => (1, 1),
        Stem::ImageNet => (2, if plan.aligned { 1 } else { 0 }),
    };
    let conv = |[conv, norm, act]: &[String; 3], inputs, outputs, stride| {
        let config = conv3x3.stride(stride).padding(padding);
        layers.conv_norm_act((conv, norm, act), inputs, outputs, config)
    };
    let inputs = layers.spec.in_chans;
    Ok([
        conv(&keys[0], inputs, STEM_CHANNELS[0], stride)?,
        conv(&keys[1], STEM_CHANNELS[0], STEM_CHANNELS[1], 1)?,
    ])
}

fn build(plan: &Plan, root: Layers) -> Result<Box<dyn Model>> {
    let eps = if plan.aligned { 1e-3 } else { 1e-5 };
    let layers = root.with_norm(eps, 0.1);
    // timm initialises only the original network.
    let layers = match plan.aligned {
        true => layers.with_conv_init(WeightInit::Default),
        false => layers,
    };
    let stem = stem(plan, &layers)?;
    let mut inputs = STEM_CHANNELS[1];
    let mut reduction = match layers.spec.stem {
        Stem::Cifar => 1,
        Stem::ImageNet => 2,
    };
    let rows = plan.blocks();
    let mut info = Vec::new();
    let mut blocks = Vec::with_capacity(rows.len());
    for (index, (channels, stride)) in rows.iter().enumerate() {
        if *stride != 1 {
            info.push(plan.feature_info(index, inputs, channels, reduction));
            reduction *= stride;
        }
        let drop_path = layers.drop_path(index, rows.len())?;
        let block = Block::new(inputs, channels, *stride, index, plan, drop_path, &layers)?;
        blocks.push(layers.block(block));
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
    let (module, classifier) = if plan.aligned {
        (format!("blocks.{}", rows.len()), "head.fc")
    } else {
        ("act4".to_string(), "fc")
    };
    info.push(FeatureInfo::new(inputs, reduction, module));
    let network = Xception { stem, blocks, tail };
    Classifier::boxed(network, info, inputs, classifier, &layers)
}

impl Backbone for Xception {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = images.clone();
        for conv in &self.stem {
            x = conv.forward_t(&x, train)?;
        }
        for block in &self.blocks {
            x = if taps.is_empty() {
                block.forward_t(&x, train)?
            } else {
                // Gradients reach a map inside of the block only if its activations are kept.
                block.block().forward(&x, train, taps)?
            };
        }
        for unit in &self.tail {
            x = unit.forward_t(&x, train)?;
        }
        taps.offer(&x);
        global_avg_pool2d(&x)
    }
}
