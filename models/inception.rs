//! Inception v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision"
//! (2015, arXiv:1512.00567), section 6 and table 1, without the auxiliary classifier.
//!
//! For 32x32 images the stem keeps the resolution: no stride, no pooling, and padding in its
//! first two convolutions, as in the usual CIFAR port (weiaicunzai/pytorch-cifar100). The
//! reductions then go from 30x30 to 14x14 and 6x6.

use candle_core::{Result, Tensor};
use candle_mish::nn::{AvgPool2d, Conv2dConfig, MaxPool2d, WeightInit};
use candle_mish::ops::{Pool2dParams, cat, global_avg_pool2d};
use candle_nn::{ModuleT, VarBuilder};

use crate::classifier::{Backbone, Classifier};
use crate::layers::Layers;
use crate::registry::Entry;
use crate::{Model, Options, Stem};

pub(crate) const ENTRIES: [Entry; 1] = [Entry::new(
    "inception_v3",
    "inception",
    "arXiv:1512.00567",
    (21_990_468, 3_095_799_808),
    build,
)
.imagenet(299, (23_834_568, 5_713_216_096))
.recipe(RECIPE)
.renames(&[("AuxLogits.", None)])];

/// In the first hundred steps on CIFAR-100 it gets further than SGD at any rate that was tried.
const RECIPE: &str = "opt = 'adamw'\nlr = 0.002\n";

/// The constants of batch norm in the Inception networks.
pub(crate) const NORM: (f64, f64) = (1e-3, 0.1);

/// One step of a branch.
pub(crate) enum Step {
    /// A convolution with norm and activation.
    Conv(&'static str, usize, Conv2dConfig),
    /// The maximum of 3x3 windows at stride 2.
    MaxPool,
    /// The mean of 3x3 windows at stride 1, over the padding too or not.
    AvgPool { count_include_pad: bool },
    /// Branches whose channels are put one behind the other, below a name if it has one.
    Fork(Option<&'static str>, Vec<Branch>),
}

/// Steps one after the other.
pub(crate) type Branch = Vec<Step>;

/// A convolution that keeps the size.
pub(crate) fn same(name: &'static str, outputs: usize, kernel: (usize, usize)) -> Step {
    let config = Conv2dConfig {
        kernel_size: kernel,
        padding: (kernel.0 / 2, kernel.1 / 2),
        ..Conv2dConfig::same(1)
    };
    Step::Conv(name, outputs, config)
}

/// A 3x3 convolution without padding.
pub(crate) fn valid(name: &'static str, outputs: usize, stride: usize) -> Step {
    let config = Conv2dConfig::same(3).padding(0).stride(stride);
    Step::Conv(name, outputs, config)
}

type Layer = Box<dyn ModuleT + Send + Sync>;

/// The layers of a [`Branch`].
pub(crate) struct Sequence(Vec<Layer>);

impl Sequence {
    /// Its layers, and the channels that they give.
    pub fn new(steps: &[Step], inputs: usize, layers: &Layers) -> Result<(Self, usize)> {
        let mut channels = inputs;
        let layer = |step: &Step| -> Result<Layer> {
            let window = Pool2dParams::new((3, 3));
            Ok(match step {
                Step::Conv(name, outputs, config) => {
                    let inputs = std::mem::replace(&mut channels, *outputs);
                    let names = ("conv", "bn", "bn.act");
                    let at = layers.pp(name);
                    Box::new(at.conv_norm_act(names, inputs, *outputs, *config)?)
                }
                Step::MaxPool => Box::new(MaxPool2d::new(window.with_stride((2, 2)))),
                Step::AvgPool { count_include_pad } => {
                    let window = window.with_stride((1, 1)).with_padding((1, 1));
                    Box::new(AvgPool2d::new(window).count_include_pad(*count_include_pad))
                }
                Step::Fork(name, branches) => {
                    let at = name.map_or_else(|| layers.clone(), |name| layers.pp(name));
                    let (fork, outputs) = Fork::new(branches, channels, &at)?;
                    channels = outputs;
                    Box::new(fork)
                }
            })
        };
        let sequence = steps.iter().map(layer).collect::<Result<_>>()?;
        Ok((Self(sequence), channels))
    }
}

impl ModuleT for Sequence {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let step = |x: Tensor, layer: &Layer| layer.forward_t(&x, train);
        self.0.iter().try_fold(x.clone(), step)
    }
}

/// Branches side by side.
pub(crate) struct Fork(Vec<Sequence>);

impl Fork {
    /// The branches, and the channels of all together.
    pub fn new(branches: &[Branch], inputs: usize, layers: &Layers) -> Result<(Self, usize)> {
        let mut channels = 0;
        let branch = |branch: &Branch| {
            let (sequence, outputs) = Sequence::new(branch, inputs, layers)?;
            channels += outputs;
            Ok(sequence)
        };
        let branches = branches.iter().map(branch).collect::<Result<_>>()?;
        Ok((Self(branches), channels))
    }
}

impl ModuleT for Fork {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let outputs = self.0.iter().map(|branch| branch.forward_t(x, train));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        cat(&outputs.iter().collect::<Vec<_>>(), 1)
    }
}

/// What both Inception networks begin with; the names are those of the five convolutions.
pub(crate) fn stem(names: [&'static str; 5], stem: Stem) -> Vec<Step> {
    let [first, second, third, fourth, fifth] = names;
    let third = same(third, 64, (3, 3));
    let (fourth, fifth) = (same(fourth, 80, (1, 1)), valid(fifth, 192, 1));
    match stem {
        Stem::Cifar => vec![
            same(first, 32, (3, 3)),
            same(second, 32, (3, 3)),
            third,
            fourth,
            fifth,
        ],
        Stem::ImageNet => vec![
            valid(first, 32, 2),
            valid(second, 32, 1),
            third,
            Step::MaxPool,
            fourth,
            fifth,
            Step::MaxPool,
        ],
    }
}

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

/// Figure 10: to half of the size, in front of the 7x7 blocks.
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

/// Figure 6: 7x7 as 1x7 and 7x1, `width` channels inside.
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

/// To half of the size, behind the 7x7 blocks.
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

fn build(options: &Options, vb: VarBuilder) -> Result<Box<dyn Model>> {
    // Not the classifier, which timm draws so as well: over 2,048 features its logits would be so
    // far apart that a short training ends before they are worth more than a guess.
    let layers = Layers::new(options, vb)
        .with_norm(NORM.0, NORM.1)
        .with_conv_init(WeightInit::Normal { std: 0.1 });
    let names = [
        "Conv2d_1a_3x3",
        "Conv2d_2a_3x3",
        "Conv2d_2b_3x3",
        "Conv2d_3b_1x1",
        "Conv2d_4a_3x3",
    ];
    let mut steps = stem(names, options.stem);
    steps.extend([
        inception_a("Mixed_5b", 32),
        inception_a("Mixed_5c", 64),
        inception_a("Mixed_5d", 64),
        inception_b("Mixed_6a"),
        inception_c("Mixed_6b", 128),
        inception_c("Mixed_6c", 160),
        inception_c("Mixed_6d", 160),
        inception_c("Mixed_6e", 192),
        inception_d("Mixed_7a"),
        inception_e("Mixed_7b"),
        inception_e("Mixed_7c"),
    ]);
    let (body, channels) = Sequence::new(&steps, options.in_channels, &layers)?;
    Classifier::boxed(InceptionV3 { body }, channels, "fc", &layers)
}

struct InceptionV3 {
    body: Sequence,
}

impl Backbone for InceptionV3 {
    fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        global_avg_pool2d(&self.body.forward_t(images, train)?)
    }
}
