//! Inception v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision"
//! (2015, arXiv:1512.00567), section 6 and table 1, without the auxiliary classifier.
//!
//! For 32x32 images the stem keeps the resolution: no stride, no pooling, and padding in its
//! first two convolutions, as in the usual CIFAR port (weiaicunzai/pytorch-cifar100). The
//! reductions then go from 30x30 to 14x14 and 6x6.

use candle_core::{Result, Tensor};
use candle_mish::nn::WeightInit;
use candle_mish::ops::global_avg_pool2d;
use candle_nn::ModuleT;

use crate::classifier::{Backbone, Classifier};
use crate::entry::Entry;
use crate::groups::{GroupMatcher, Place, STEM};
use crate::inception_blocks::{InceptionStem, NORM, Sequence, Step, same, valid};
use crate::layers::Layers;
use crate::model::{FeatureInfo, Model, Taps};
use crate::spec::Stem;

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "inception_v3",
    "inception",
    "arXiv:1512.00567",
    (21_990_468, 3_095_799_808),
    build,
)
.imagenet(299, (23_834_568, 5_713_216_096))
.recipe(RECIPE)
.groups(GROUPS)];

/// In the first hundred steps on CIFAR-100 AdamW gets further than SGD at every rate tried.
const RECIPE: &str = "opt = 'adamw'\nlr = 0.002\n";

/// A layer for each part of the stem and for each block.
const GROUPS: GroupMatcher = &[
    ("Conv2d_1", STEM),
    ("Conv2d_2", STEM),
    ("Conv2d_3", &[Place::At(1)]),
    ("Conv2d_4", &[Place::At(1)]),
    ("Mixed_5b.", &[Place::At(2)]),
    ("Mixed_5c.", &[Place::At(3)]),
    ("Mixed_5d.", &[Place::At(4)]),
    ("Mixed_6a.", &[Place::At(5)]),
    ("Mixed_6b.", &[Place::At(6)]),
    ("Mixed_6c.", &[Place::At(7)]),
    ("Mixed_6d.", &[Place::At(8)]),
    ("Mixed_6e.", &[Place::At(9)]),
    ("Mixed_7a.", &[Place::At(10)]),
    ("Mixed_7b.", &[Place::At(11)]),
    ("Mixed_7c.", &[Place::At(12)]),
];

const POOL: Step = Step::AvgPool {
    count_include_pad: true,
};

/// Figure 5: 5x5, and 3x3 twice.
fn inception_a(name: &'static str, pool: usize) -> Step {
    let branches = vec![
        vec![same("branch1x1", 64, (1, 1))],
        vec![
            same("branch5x5_1", 48, (1, 1)),
            same("branch5x5_2", 64, (5, 5)),
        ],
        vec![
            same("branch3x3dbl_1", 64, (1, 1)),
            same("branch3x3dbl_2", 96, (3, 3)),
            same("branch3x3dbl_3", 96, (3, 3)),
        ],
        vec![POOL, same("branch_pool", pool, (1, 1))],
    ];
    Step::Fork(Some(name), branches)
}

/// Figure 10: halves the size, before the 7x7 blocks.
fn inception_b(name: &'static str) -> Step {
    let branches = vec![
        vec![valid("branch3x3", 384, 2)],
        vec![
            same("branch3x3dbl_1", 64, (1, 1)),
            same("branch3x3dbl_2", 96, (3, 3)),
            valid("branch3x3dbl_3", 96, 2),
        ],
        vec![Step::MaxPool],
    ];
    Step::Fork(Some(name), branches)
}

/// Figure 6: 7x7 factored into 1x7 and 7x1, with `width` channels inside.
fn inception_c(name: &'static str, width: usize) -> Step {
    let branches = vec![
        vec![same("branch1x1", 192, (1, 1))],
        vec![
            same("branch7x7_1", width, (1, 1)),
            same("branch7x7_2", width, (1, 7)),
            same("branch7x7_3", 192, (7, 1)),
        ],
        vec![
            same("branch7x7dbl_1", width, (1, 1)),
            same("branch7x7dbl_2", width, (7, 1)),
            same("branch7x7dbl_3", width, (1, 7)),
            same("branch7x7dbl_4", width, (7, 1)),
            same("branch7x7dbl_5", 192, (1, 7)),
        ],
        vec![POOL, same("branch_pool", 192, (1, 1))],
    ];
    Step::Fork(Some(name), branches)
}

/// Halves the size, after the 7x7 blocks.
fn inception_d(name: &'static str) -> Step {
    let branches = vec![
        vec![
            same("branch3x3_1", 192, (1, 1)),
            valid("branch3x3_2", 320, 2),
        ],
        vec![
            same("branch7x7x3_1", 192, (1, 1)),
            same("branch7x7x3_2", 192, (1, 7)),
            same("branch7x7x3_3", 192, (7, 1)),
            valid("branch7x7x3_4", 192, 2),
        ],
        vec![Step::MaxPool],
    ];
    Step::Fork(Some(name), branches)
}

/// Figure 7: 1x3 and 3x1 side by side, for the smallest maps.
fn inception_e(name: &'static str) -> Step {
    let split = |row: &'static str, column: &'static str| {
        let branches = vec![
            vec![same(row, 384, (1, 3))],
            vec![same(column, 384, (3, 1))],
        ];
        Step::Fork(None, branches)
    };
    let branches = vec![
        vec![same("branch1x1", 320, (1, 1))],
        vec![
            same("branch3x3_1", 384, (1, 1)),
            split("branch3x3_2a", "branch3x3_2b"),
        ],
        vec![
            same("branch3x3dbl_1", 448, (1, 1)),
            same("branch3x3dbl_2", 384, (3, 3)),
            split("branch3x3dbl_3a", "branch3x3dbl_3b"),
        ],
        vec![POOL, same("branch_pool", 192, (1, 1))],
    ];
    Step::Fork(Some(name), branches)
}

fn build(root: Layers) -> Result<Box<dyn Model>> {
    // timm draws the classifier from the same distribution. Over 2,048 features that makes logits
    // so large that a short training ends before they beat a guess.
    let layers = root
        .with_norm(NORM.0, NORM.1)
        .with_conv_init(WeightInit::Normal { std: 0.1 });
    let names = [
        "Conv2d_1a_3x3",
        "Conv2d_2a_3x3",
        "Conv2d_2b_3x3",
        "Conv2d_3b_1x1",
        "Conv2d_4a_3x3",
    ];
    let (stem, mut info) = InceptionStem::new(names, &layers)?;
    let stages = [
        vec![
            inception_a("Mixed_5b", 32),
            inception_a("Mixed_5c", 64),
            inception_a("Mixed_5d", 64),
        ],
        vec![
            inception_b("Mixed_6a"),
            inception_c("Mixed_6b", 128),
            inception_c("Mixed_6c", 160),
            inception_c("Mixed_6d", 160),
            inception_c("Mixed_6e", 192),
        ],
        vec![
            inception_d("Mixed_7a"),
            inception_e("Mixed_7b"),
            inception_e("Mixed_7c"),
        ],
    ];
    let first_reduction = match layers.spec.stem {
        Stem::Cifar => 1,
        Stem::ImageNet => 8,
    };
    let mut channels = InceptionStem::CHANNELS;
    let mut built = Vec::with_capacity(stages.len());
    for (i, (steps, last)) in stages
        .iter()
        .zip(["Mixed_5d", "Mixed_6e", "Mixed_7c"])
        .enumerate()
    {
        let (stage, outputs) = Sequence::new(steps, channels, &layers)?;
        channels = outputs;
        built.push(stage);
        info.push(FeatureInfo::new(channels, first_reduction << i, last));
    }
    let network = InceptionV3 {
        stem,
        stages: built,
    };
    Classifier::boxed(network, info, channels, "fc", &layers)
}

struct InceptionV3 {
    stem: InceptionStem,
    stages: Vec<Sequence>,
}

impl Backbone for InceptionV3 {
    fn features(&self, images: &Tensor, train: bool, taps: &mut Taps) -> Result<Tensor> {
        let mut x = self.stem.forward(images, train, taps)?;
        for stage in &self.stages {
            x = stage.forward_t(&x, train)?;
            taps.offer(&x);
        }
        global_avg_pool2d(&x)
    }
}
