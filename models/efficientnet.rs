//! EfficientNet: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
//! Networks" (2019, arXiv:1905.11946), table 1 and section 3.3.
//!
//! B1 and B2 are B0 with more blocks and channels. For 32x32 images the first convolution has
//! stride 1, as in the usual CIFAR ports, so that the last maps are 2x2. The activation of the
//! paper and of timm is SiLU, the gate of the channel attention a sigmoid.
//!
//! The paper's regularisation is off by default: dropout of 0.2 (0.3 for B2) before the classifier
//! and stochastic depth of 0.2. Batch-norm constants (PyTorch's) and image sizes are those of
//! timm's networks of the same names; the paper uses 260 pixels for B2.

use candle_core::Result;

use crate::entry::{Build, Entry, Renames, Size};
use crate::inverted_residual::{GROUPS, Plan, Stage, Unit, build};
use crate::layers::Layers;
use crate::model::Model;

const fn variant(name: &'static str, size: Size, build: Build) -> Entry {
    Entry::new(name, "efficientnet", "arXiv:1905.11946", size, build)
        .groups(GROUPS)
        .renames(TORCHVISION)
}

/// torchvision's keys: its numbers of layers, of stages, and within a block.
#[rustfmt::skip]
const TORCHVISION: Renames = &[
    ("features.0.0.", Some("conv_stem.")),
    ("features.0.1.", Some("bn1.")),
    ("features.8.0.", Some("conv_head.")),
    ("features.8.1.", Some("bn2.")),
    ("classifier.1.", Some("classifier.")),
    ("features.1.0.block.0.0.", Some("blocks.0.0.conv_dw.")),
    ("features.1.1.block.0.0.", Some("blocks.0.1.conv_dw.")),
    (".block.1.fc1.", Some(".se.conv_reduce.")),
    (".block.1.fc2.", Some(".se.conv_expand.")),
    (".block.2.0.", Some(".conv_pw.")),
    (".block.2.1.", Some(".bn2.")),
    ("features.1.", Some("blocks.0.")),
    ("features.2.", Some("blocks.1.")),
    ("features.3.", Some("blocks.2.")),
    ("features.4.", Some("blocks.3.")),
    ("features.5.", Some("blocks.4.")),
    ("features.6.", Some("blocks.5.")),
    ("features.7.", Some("blocks.6.")),
    (".block.0.0.", Some(".conv_pw.")),
    (".block.0.1.", Some(".bn1.")),
    (".block.1.0.", Some(".conv_dw.")),
    (".block.1.1.", Some(".bn2.")),
    (".block.2.fc1.", Some(".se.conv_reduce.")),
    (".block.2.fc2.", Some(".se.conv_expand.")),
    (".block.3.0.", Some(".conv_pwl.")),
    (".block.3.1.", Some(".bn3.")),
];

pub(crate) const ENTRIES: [Entry; 3] = [
    variant("efficientnet_b0", (4_135_648, 32_094_592), |root| {
        scaled(1.0, 1.0, root)
    })
    .imagenet(224, (5_288_548, 385_814_752)),
    variant("efficientnet_b1", (6_641_284, 47_543_680), |root| {
        scaled(1.0, 1.1, root)
    })
    .imagenet(240, (7_794_184, 686_802_832)),
    variant("efficientnet_b2", (7_841_894, 55_025_280), |root| {
        scaled(1.1, 1.2, root)
    })
    .imagenet(256, (9_109_994, 859_853_760)),
];

const fn mb_conv(
    expansion: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    repeats: usize,
) -> Stage {
    Stage {
        unit: Unit::Inverted {
            expansion,
            squeeze_excite: true,
        },
        kernel,
        channels,
        repeats,
        stride,
    }
}

const STEM: usize = 32;
const HEAD: usize = 1280;
/// The stages of B0.
const STAGES: [Stage; 7] = [
    mb_conv(1, 3, 1, 16, 1),
    mb_conv(6, 3, 2, 24, 2),
    mb_conv(6, 5, 2, 40, 2),
    mb_conv(6, 3, 2, 80, 3),
    mb_conv(6, 5, 1, 112, 3),
    mb_conv(6, 5, 2, 192, 4),
    mb_conv(6, 3, 1, 320, 1),
];

/// `channels` times `width`, rounded to the nearest multiple of eight, or up if that loses more
/// than a tenth.
fn scale_channels(channels: usize, width: f64) -> usize {
    let wanted = channels as f64 * width;
    let nearest = ((wanted + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * wanted {
        nearest + 8
    } else {
        nearest
    }
}

/// B0 with `width` times the channels and `depth` times the blocks.
fn scaled(width: f64, depth: f64, root: Layers) -> Result<Box<dyn Model>> {
    let stages = STAGES.map(|stage| Stage {
        channels: scale_channels(stage.channels, width),
        repeats: (stage.repeats as f64 * depth).ceil() as usize,
        ..stage
    });
    let plan = Plan {
        stem: scale_channels(STEM, width),
        stages: &stages,
        maps: [0, 1, 2, 4, 6],
        head: Some(scale_channels(HEAD, width)),
    };
    build(&plan, root)
}
