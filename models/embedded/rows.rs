//! The table of embedded weights.

use candle_mish::activation::Activation;

use crate::embedded::row::Embedded;

/// All embedded weights: network by network, the default of each network first. `mish export --dtype f16`
/// writes the files.
pub(super) static ROWS: [Embedded; 2] = [
    Embedded {
        model: "resnet20",
        activation: Activation::Mish,
        dataset: "cifar100",
        num_classes: 100,
        top1: 0.6745,
        sha256: "a307553437dd7813b541ea4fba8ee32bcc7431e9549ddecaca21d32f8254678c",
        bytes: include_bytes!("resnet20-mish.safetensors"),
    },
    Embedded {
        model: "resnet20",
        activation: Activation::Relu,
        dataset: "cifar100",
        num_classes: 100,
        top1: 0.6692,
        sha256: "cc8fabe1a9bb23f15765cee41a3a2198fe2b48be4e5aac7171060042a9dcf853",
        bytes: include_bytes!("resnet20-relu.safetensors"),
    },
];
