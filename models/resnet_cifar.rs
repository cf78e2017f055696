//! ResNet v1 for 32x32 images: He et al., "Deep Residual Learning for Image Recognition"
//! (2015, arXiv:1512.03385), section 4.2.
//!
//! A 3x3 convolution to 16 channels, three stages of n basic blocks with 16, 32 and 64 channels
//! at 32x32, 16x16 and 8x8, global average pooling and a classifier: 6n + 2 layers. Where the
//! shape changes, the shortcut is a 1x1 convolution with batch norm (option B), as in the paper's
//! ImageNet networks and in torchvision. The paper pads it with zeros:
//! [`Shortcut::A`](crate::Shortcut::A), which has fewer parameters.

use crate::entry::{Build, Entry, Size};
use crate::resnet::{Architecture, GROUPS};

const fn variant(name: &'static str, size: Size, build: Build) -> Entry {
    Entry::new(name, "resnet", "arXiv:1512.03385", size, build)
        .groups(GROUPS)
        .with_shortcuts()
}

pub(crate) const ENTRIES: [Entry; 6] = [
    variant("resnet20", (278_324, 40_818_944), |root| {
        Architecture::basic(16, &[3; 3]).build(root)
    }),
    variant("resnet32", (472_756, 69_130_496), |root| {
        Architecture::basic(16, &[5; 3]).build(root)
    }),
    variant("resnet44", (667_188, 97_442_048), |root| {
        Architecture::basic(16, &[7; 3]).build(root)
    }),
    variant("resnet56", (861_620, 125_753_600), |root| {
        Architecture::basic(16, &[9; 3]).build(root)
    }),
    variant("resnet110", (1_736_564, 253_155_584), |root| {
        Architecture::basic(16, &[18; 3]).build(root)
    }),
    variant("resnet164", (2_611_508, 380_557_568), |root| {
        Architecture::basic(16, &[27; 3]).build(root)
    }),
];
