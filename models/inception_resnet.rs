//! Inception-ResNet v2: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
//! Connections on Learning" (2016, arXiv:1602.07261), figure 15, with the stem of Inception v3 as
//! in the authors' code and in timm, whose keys these are.
//!
//! The output of a residual branch is scaled by 0.1 to 0.2 before the sum (section 3.3). The last
//! convolution of a branch has a bias and no norm. For 32x32 images the stem keeps the resolution,
//! as in Inception v3.

use candle_core::{Module, Result, Tensor};
use candle_mish::nn::{Act, Conv2d, Conv2dConfig, DropPath, WeightInit};
use candle_mish::ops::{add_scaled, global_avg_pool2d};
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{GroupMatcher, Place, STEM};
use crate::inception_blocks::{Branch, Fork, InceptionStem, NORM, Sequence, Step, same, valid};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::recomputed::Recomputed;
use crate::spec::Stem;

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "inception_resnet_v2",
    "inception",
    "arXiv:1602.07261",
    (54_460_164, 8_128_882_688),
    build,
)
.imagenet(299, (55_843_464, 13_155_794_016))
.groups(GROUPS)];

/// A layer for each part of the stem and for each block; the last block joins the last
/// convolution.
const GROUPS: GroupMatcher = &[
    ("conv2d_1", STEM),
    ("conv2d_2", STEM),
    ("conv2d_3", &[Place::At(1)]),
    ("conv2d_4", &[Place::At(1)]),
    ("mixed_5b.", &[Place::At(2)]),
    ("repeat.#.", &[Place::At(3), Place::Numbers]),
    ("mixed_6a.", &[Place::At(4)]),
    ("repeat_1.#.", &[Place::At(5), Place::Numbers]),
    ("mixed_7a.", &[Place::At(6)]),
    ("repeat_2.#.", &[Place::At(7), Place::Numbers]),
    ("block8.", &[Place::At(8)]),
    ("conv2d_7", &[Place::At(8)]),
];

/// Before the residual blocks: Inception v3's block with other widths.
fn mixed_5b() -> Step {
    let pool = Step::AvgPool {
        count_include_pad: false,
    };
    let branches = vec![
        vec![same("branch0", 96, (1, 1))],
        vec![same("branch1.0", 48, (1, 1)), same("branch1.1", 64, (5, 5))],
        vec![
            same("branch2.0", 64, (1, 1)),
            same("branch2.1", 96, (3, 3)),
            same("branch2.2", 96, (3, 3)),
        ],
        vec![pool, same("branch3.1", 64, (1, 1))],
    ];
    Step::Fork(Some("mixed_5b"), branches)
}

/// Reduction A, figure 7.
fn mixed_6a() -> Step {
    let branches = vec![
        vec![valid("branch0", 384, 2)],
        vec![
            same("branch1.0", 256, (1, 1)),
            same("branch1.1", 256, (3, 3)),
            valid("branch1.2", 384, 2),
        ],
        vec![Step::MaxPool],
    ];
    Step::Fork(Some("mixed_6a"), branches)
}

/// Reduction B, figure 18.
fn mixed_7a() -> Step {
    let branches = vec![
        vec![same("branch0.0", 256, (1, 1)), valid("branch0.1", 384, 2)],
        vec![same("branch1.0", 256, (1, 1)), valid("branch1.1", 288, 2)],
        vec![
            same("branch2.0", 256, (1, 1)),
            same("branch2.1", 288, (3, 3)),
            valid("branch2.2", 320, 2),
        ],
        vec![Step::MaxPool],
    ];
    Step::Fork(Some("mixed_7a"), branches)
}

/// Inception-ResNet-A, figure 16.
fn block35() -> Vec<Branch> {
    vec![
        vec![same("branch0", 32, (1, 1))],
        vec![same("branch1.0", 32, (1, 1)), same("branch1.1", 32, (3, 3))],
        vec![
            same("branch2.0", 32, (1, 1)),
            same("branch2.1", 48, (3, 3)),
            same("branch2.2", 64, (3, 3)),
        ],
    ]
}

/// Inception-ResNet-B, figure 17.
fn block17() -> Vec<Branch> {
    vec![
        vec![same("branch0", 192, (1, 1))],
        vec![
            same("branch1.0", 128, (1, 1)),
            same("branch1.1", 160, (1, 7)),
            same("branch1.2", 192, (7, 1)),
        ],
    ]
}

/// Inception-ResNet-C, figure 19.
fn block8() -> Vec<Branch> {
    vec![
        vec![same("branch0", 192, (1, 1))],
        vec![
            same("branch1.0", 192, (1, 1)),
            same("branch1.1", 224, (1, 3)),
            same("branch1.2", 256, (3, 1)),
        ],
    ]
}

/// Residual blocks of one kind, in sequence.
struct Repeat {
    /// The path of the blocks.
    name: &'static str,
    count: usize,
    branches: fn() -> Vec<Branch>,
    scale: f64,
    /// The name of the activation.
    act: &'static str,
}

const REPEATS: [Repeat; 3] = [
    Repeat {
        name: "repeat",
        count: 10,
        branches: block35,
        scale: 0.17,
        act: "act",
    },
    Repeat {
        name: "repeat_1",
        count: 20,
        branches: block17,
        scale: 0.1,
        act: "act",
    },
    Repeat {
        name: "repeat_2",
        count: 9,
        branches: block8,
        scale: 0.2,
        act: "relu",
    },
];

/// The residual blocks of all repeats, and the last one.
const BLOCKS: usize = 40;

/// act(x + scale conv(branches(x))).
struct Residual {
    branches: Fork,
    conv: Conv2d,
    scale: f64,
    drop_path: DropPath,
    /// The last block of the network has none.
    act: Option<Act>,
}

impl Residual {
    fn new(
        branches: &[Branch],
        channels: usize,
        scale: f64,
        act: Option<&str>,
        drop_path: DropPath,
        layers: &Layers,
    ) -> Result<Self> {
        let (branches, inner) = Fork::new(branches, channels, layers)?;
        let conv = Conv2dConfig::same(1).bias(true);
        Ok(Self {
            branches,
            conv: layers.pp("conv2d").conv(inner, channels, conv)?,
            scale,
            drop_path,
            act: act.map(|name| layers.pp(name).act(channels)).transpose()?,
        })
    }
}

impl ModuleT for Residual {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let y = self.branches.forward_t(x, train)?;
        let y = self.drop_path.forward_t(&self.conv.forward(&y)?, train)?;
        let y = add_scaled(x, &y, self.scale)?;
        match &self.act {
            Some(act) => act.forward_t(&y, train),
            None => Ok(y),
        }
    }
}

/// A block that changes the size or the channels, and the residual blocks after it.
struct Stage {
    entry: Sequence,
    blocks: Vec<Recomputed<Residual>>,
}

struct InceptionResNet {
    stem: InceptionStem,
    stages: Vec<Stage>,
    end: Sequence,
}

fn build(root: Layers) -> Result<Box<dyn Model>> {
    let layers = root
        .with_norm(NORM.0, NORM.1)
        .with_conv_init(WeightInit::Default);
    let names = [
        "conv2d_1a",
        "conv2d_2a",
        "conv2d_2b",
        "conv2d_3b",
        "conv2d_4a",
    ];
    let (stem, mut info) = InceptionStem::new(names, &layers)?;
    let entries = [mixed_5b(), mixed_6a(), mixed_7a()];
    let first_reduction = match layers.spec.stem {
        Stem::Cifar => 1,
        Stem::ImageNet => 8,
    };
    let (mut channels, mut index) = (InceptionStem::CHANNELS, 0);
    let mut stages = Vec::with_capacity(REPEATS.len());
    for (i, (step, repeat)) in entries.into_iter().zip(&REPEATS).enumerate() {
        let (entry, outputs) = Sequence::new(&[step], channels, &layers)?;
        channels = outputs;
        let mut blocks = Vec::with_capacity(repeat.count + 1);
        for i in 0..repeat.count {
            let at = layers.pp(repeat.name).pp(i);
            let (branches, drop_path) = ((repeat.branches)(), layers.drop_path(index, BLOCKS)?);
            let act = Some(repeat.act);
            let block = Residual::new(&branches, channels, repeat.scale, act, drop_path, &at)?;
            blocks.push(layers.block(block));
            index += 1;
        }
        stages.push(Stage { entry, blocks });
        if i + 1 < REPEATS.len() {
            info.push(FeatureInfo::new(
                channels,
                first_reduction << i,
                repeat.name,
            ));
        }
    }
    let drop_path = layers.drop_path(index, BLOCKS)?;
    let at = layers.pp("block8");
    let last = Residual::new(&block8(), channels, 1.0, None, drop_path, &at)?;
    if let Some(stage) = stages.last_mut() {
        stage.blocks.push(layers.block(last));
    }
    let steps = [same("conv2d_7b", 1536, (1, 1))];
    let (end, channels) = Sequence::new(&steps, channels, &layers)?;
    let last_reduction = first_reduction << (REPEATS.len() - 1);
    info.push(FeatureInfo::new(channels, last_reduction, "conv2d_7b"));
    let network = InceptionResNet { stem, stages, end };
    Classifier::boxed(network, info, channels, "classif", &layers)
}

impl Backbone for InceptionResNet {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward(images, train, taps)?;
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.entry.forward_t(&x, train)?;
            for block in &stage.blocks {
                x = block.forward_t(&x, train)?;
            }
            if i + 1 < self.stages.len() {
                taps.offer(&x);
            }
        }
        let x = self.end.forward_t(&x, train)?;
        taps.offer(&x);
        global_avg_pool2d(&x)
    }
}
