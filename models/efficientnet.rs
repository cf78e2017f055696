//! EfficientNet: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
//! Networks" (2019, arXiv:1905.11946), table 1 and section 3.3.
//!
//! B1 and B2 are B0 with more blocks and channels. For 32x32 images the first convolution has
//! stride 1, as in the usual CIFAR ports, so that the last maps are 2x2. The activation of the
//! paper and of timm is SiLU, the gate of the channel attention a sigmoid.
//!
//! The paper's regularisation is off by default: dropout of 0.2 (0.3 for B2) before the classifier
//! and stochastic depth of 0.2. Batch-norm constants (PyTorch's) and image sizes are the same as in
//! timm's networks of the same names; the paper uses 260 pixels for B2.
//!
//! The paper's own weights were trained with TensorFlow, whose strided convolutions are padded at the
//! end, and with 1e-3 added to the variances. `tf_efficientnet_b0` and its relatives have both, as in
//! timm and in efficientnet_pytorch.

use candle_core::Result;

use crate::entry::{Build, Entry, Size};
use crate::inverted_residual::{GROUPS, Padding, Plan, Stage, Unit, build};
use crate::layers::Layers;
use crate::model::Model;

const fn variant(name: &'static str, size: Size, build: Build) -> Entry {
    Entry::new(name, "efficientnet", "arXiv:1905.11946", size, build).groups(GROUPS)
}

pub(crate) const ENTRIES: [Entry; 6] = [
    variant("efficientnet_b0", (4_135_648, 32_094_592), |root| {
        PYTORCH.build(1.0, 1.0, root)
    })
    .imagenet(224, (5_288_548, 385_814_752)),
    variant("efficientnet_b1", (6_641_284, 47_543_680), |root| {
        PYTORCH.build(1.0, 1.1, root)
    })
    .imagenet(240, (7_794_184, 686_802_832)),
    variant("efficientnet_b2", (7_841_894, 55_025_280), |root| {
        PYTORCH.build(1.1, 1.2, root)
    })
    .imagenet(256, (9_109_994, 859_853_760)),
    variant("tf_efficientnet_b0", (4_135_648, 32_094_592), |root| {
        TENSORFLOW.build(1.0, 1.0, root)
    })
    .imagenet(224, (5_288_548, 385_814_752)),
    variant("tf_efficientnet_b1", (6_641_284, 47_543_680), |root| {
        TENSORFLOW.build(1.0, 1.1, root)
    })
    .imagenet(240, (7_794_184, 686_802_832)),
    variant("tf_efficientnet_b2", (7_841_894, 55_025_280), |root| {
        TENSORFLOW.build(1.1, 1.2, root)
    })
    .imagenet(260, (9_109_994, 993_561_872)),
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

/// PyTorch's momentum of running statistics.
const MOMENTUM: f64 = 0.1;
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

/// What differs between PyTorch's and TensorFlow's networks.
struct Framework {
    padding: Padding,
    /// Added to the variances.
    eps: f64,
}

const PYTORCH: Framework = Framework {
    padding: Padding::Symmetric,
    eps: 1e-5,
};
const TENSORFLOW: Framework = Framework {
    padding: Padding::Same,
    eps: 1e-3,
};

impl Framework {
    /// B0 with `width` times the channels and `depth` times the blocks.
    fn build(&self, width: f64, depth: f64, root: Layers) -> Result<Box<dyn Model>> {
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
            padding: self.padding,
        };
        build(&plan, root.with_norm(self.eps, MOMENTUM))
    }
}
