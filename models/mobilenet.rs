//! MobileNet v1: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile
//! Vision Applications" (2017, arXiv:1704.04861), table 1; and v2: Sandler et al., "MobileNetV2:
//! Inverted Residuals and Linear Bottlenecks" (2018, arXiv:1801.04381), table 2. Both with the
//! width multiplier 1.
//!
//! For 32x32 images the first convolution has stride 1, and in v2 the first strided stage as well,
//! as in the usual CIFAR ports: the last maps are 2x2 in v1 and 4x4 in v2. The papers' and timm's
//! activation is ReLU6.

use candle_core::Result;

use crate::entry::Entry;
use crate::inverted_residual::{GROUPS, Padding, Plan, Stage, Unit, build};
use crate::layers::Layers;
use crate::model::Model;
use crate::spec::Stem;

const FAMILY: &str = "mobilenet";

pub(crate) const ENTRIES: [Entry; 2] = [
    Entry::new(
        "mobilenetv1_100",
        FAMILY,
        "arXiv:1704.04861",
        (3_309_476, 46_446_592),
        v1,
    )
    .imagenet(224, (4_231_976, 568_740_352))
    .groups(GROUPS),
    Entry::new(
        "mobilenetv2_100",
        FAMILY,
        "arXiv:1801.04381",
        (2_351_972, 88_091_648),
        v2,
    )
    .imagenet(224, (3_504_872, 300_774_272))
    .groups(GROUPS),
];

/// `repeats` blocks with `channels`, the first with `stride`.
const fn separable(channels: usize, repeats: usize, stride: usize) -> Stage {
    Stage {
        unit: Unit::Separable,
        kernel: 3,
        channels,
        repeats,
        stride,
    }
}

const V1: [Stage; 5] = [
    separable(64, 1, 1),
    separable(128, 2, 2),
    separable(256, 2, 2),
    separable(512, 6, 2),
    separable(1024, 2, 2),
];

fn v1(root: Layers) -> Result<Box<dyn Model>> {
    let plan = Plan {
        stem: 32,
        stages: &V1,
        maps: [0, 1, 2, 3, 4],
        head: None,
        padding: Padding::Symmetric,
    };
    build(&plan, root)
}

/// A row of the paper's table: expansion t, channels c, repeats n, stride s.
const fn bottleneck(t: usize, c: usize, n: usize, s: usize) -> Stage {
    Stage {
        unit: Unit::Inverted {
            expansion: t,
            squeeze_excite: false,
        },
        kernel: 3,
        channels: c,
        repeats: n,
        stride: s,
    }
}

const V2: [Stage; 7] = [
    bottleneck(1, 16, 1, 1),
    bottleneck(6, 24, 2, 2),
    bottleneck(6, 32, 3, 2),
    bottleneck(6, 64, 4, 2),
    bottleneck(6, 96, 3, 1),
    bottleneck(6, 160, 3, 2),
    bottleneck(6, 320, 1, 1),
];

fn v2(root: Layers) -> Result<Box<dyn Model>> {
    let mut stages = V2;
    if root.spec.stem == Stem::Cifar {
        stages[1].stride = 1;
    }
    let plan = Plan {
        stem: 32,
        stages: &stages,
        maps: [0, 1, 2, 4, 6],
        head: Some(1280),
        padding: Padding::Symmetric,
    };
    build(&plan, root)
}
