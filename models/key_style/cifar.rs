//! The styles of repositories with networks for CIFAR.
//!
//! bearpaw/pytorch-classification and chenyaofo/pytorch-cifar-models have the network's own keys for
//! ResNet, Wide ResNet and ShuffleNet, and torchvision's for MobileNet v2.

use candle_mish::activation::Activation;

use super::{KeyStyle, Rule};

const KUANGLIU: &str = "kuangliu/pytorch-cifar";
const WEIAICUNZAI: &str = "weiaicunzai/pytorch-cifar100";
const BEARPAW: &str = "bearpaw/pytorch-classification";

pub(super) static STYLES: [KeyStyle; 7] = [
    KeyStyle::cifar(
        "kuangliu/pytorch-cifar and akamaster/pytorch_resnet_cifar10",
        &["resnet"],
        &[(".shortcut.#.", ".downsample.#."), ("linear.", "fc.")],
    ),
    KeyStyle::cifar(
        "kuangliu/pytorch-cifar and bearpaw/pytorch-classification",
        &["vgg"],
        &[
            ("features.module.", "features."),
            ("classifier.", "head.fc."),
        ],
    ),
    KeyStyle::cifar(
        KUANGLIU,
        &["mobilenetv1_*"],
        &[
            ("conv1.", "conv_stem."),
            ("layers.#.", "blocks.%."),
            (".conv1.", ".conv_dw."),
            (".conv2.", ".conv_pw."),
            ("linear.", "classifier."),
        ],
    )
    .activation(Activation::Relu),
    KeyStyle::cifar(KUANGLIU, &["shufflenet_v2_*"], KUANGLIU_SHUFFLENET),
    KeyStyle::cifar(WEIAICUNZAI, &["resnet"], WEIAICUNZAI_RESNET),
    KeyStyle {
        biases: &[("conv_pw", "bn2")],
        ..KeyStyle::cifar(WEIAICUNZAI, &["mobilenetv1_*"], WEIAICUNZAI_MOBILENET)
            .activation(Activation::Relu)
    },
    KeyStyle::cifar(BEARPAW, &["densenet"], BEARPAW_DENSENET),
];

/// The first unit of a stage has a convolution in its left branch.
const KUANGLIU_SHUFFLENET: &[Rule] = &[
    ("conv1.", "conv1.0."),
    ("bn1.", "conv1.1."),
    ("conv2.", "conv5.0."),
    ("bn2.", "conv5.1."),
    ("linear.", "fc."),
    ("layer#.0.conv1.", "stage#+1.0.branch1.0."),
    ("layer#.0.bn1.", "stage#+1.0.branch1.1."),
    ("layer#.0.conv2.", "stage#+1.0.branch1.2."),
    ("layer#.0.bn2.", "stage#+1.0.branch1.3."),
    ("layer#.0.conv3.", "stage#+1.0.branch2.0."),
    ("layer#.0.bn3.", "stage#+1.0.branch2.1."),
    ("layer#.0.conv4.", "stage#+1.0.branch2.3."),
    ("layer#.0.bn4.", "stage#+1.0.branch2.4."),
    ("layer#.0.conv5.", "stage#+1.0.branch2.5."),
    ("layer#.0.bn5.", "stage#+1.0.branch2.6."),
    ("layer#.#.conv1.", "stage#+1.#.branch2.0."),
    ("layer#.#.bn1.", "stage#+1.#.branch2.1."),
    ("layer#.#.conv2.", "stage#+1.#.branch2.3."),
    ("layer#.#.bn2.", "stage#+1.#.branch2.4."),
    ("layer#.#.conv3.", "stage#+1.#.branch2.5."),
    ("layer#.#.bn3.", "stage#+1.#.branch2.6."),
];

/// The paper's names of the stages, from conv2_x on.
const WEIAICUNZAI_RESNET: &[Rule] = &[
    ("conv1.0.", "conv1."),
    ("conv1.1.", "bn1."),
    ("conv#_x.", "layer#-1."),
    (".residual_function.0.", ".conv1."),
    (".residual_function.1.", ".bn1."),
    (".residual_function.3.", ".conv2."),
    (".residual_function.4.", ".bn2."),
    (".residual_function.6.", ".conv3."),
    (".residual_function.7.", ".bn3."),
    (".shortcut.#.", ".downsample.#."),
];

const WEIAICUNZAI_MOBILENET: &[Rule] = &[
    ("stem.0.conv.", "conv_stem."),
    ("stem.0.bn.", "bn1."),
    ("stem.1.", "blocks.0.0."),
    ("conv#.#.", "blocks.#.#."),
    (".depthwise.0.", ".conv_dw."),
    (".depthwise.1.", ".bn1."),
    (".pointwise.0.", ".conv_pw."),
    (".pointwise.1.", ".bn2."),
    ("fc.", "classifier."),
];

const BEARPAW_DENSENET: &[Rule] = &[
    ("conv1.", "features.conv0."),
    ("dense#.#.bn", "features.denseblock#.denselayer#+1.norm"),
    ("dense#.#.", "features.denseblock#.denselayer#+1."),
    ("trans#.bn1.", "features.transition#.norm."),
    ("trans#.conv1.", "features.transition#.conv."),
    ("bn.", "features.norm5."),
    ("fc.", "classifier."),
];
