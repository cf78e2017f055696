//! The table of embedded weights.

use crate::embedded::row::Embedded;

/// All embedded weights: network by network, the default of each network first. A file is written by
/// `mish export --dtype f16`, and a row includes it:
///
/// ```text
/// Embedded {
///     model: "resnet20",
///     activation: Activation::Mish,
///     dataset: "cifar100",
///     num_classes: 100,
///     top1: 0.7012,
///     sha256: "…",
///     bytes: include_bytes!("resnet20-mish.safetensors"),
/// },
/// ```
pub(super) static ROWS: [Embedded; 0] = [];
