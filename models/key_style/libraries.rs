//! The styles of libraries: torchvision, transformers, and others with ImageNet weights.

use super::{KeyStyle, Rule};

const RESNETS: &[&str] = &["resnet", "wide_resnet", "resnext"];

pub(super) static STYLES: [KeyStyle; 14] = [
    KeyStyle::new("transformers", &["resnet"], TRANSFORMERS),
    KeyStyle::new(
        "mmpretrain",
        RESNETS,
        &[("backbone.", ""), ("head.fc.", "fc.")],
    ),
    KeyStyle::new("torchvision", &["vgg"], TORCHVISION_VGG),
    KeyStyle::new("torchvision", &["densenet"], TORCHVISION_DENSENET),
    KeyStyle::new("torchvision", &["mobilenetv2_*"], TORCHVISION_MOBILENET),
    KeyStyle::new(
        "torchvision",
        &["efficientnet_b*"],
        TORCHVISION_EFFICIENTNET,
    ),
    KeyStyle {
        ignored: &["AuxLogits."],
        ..KeyStyle::new("torchvision", &["inception_v3"], &[])
    },
    KeyStyle::new(
        "lukemelas/EfficientNet-PyTorch",
        &["tf_efficientnet_b*"],
        LUKEMELAS,
    ),
    KeyStyle::new(
        "gpleiss/efficient_densenet_pytorch",
        &["densenet"],
        &[("features.norm_final.", "features.norm5.")],
    ),
    // Cadene's library, and timm before its squeeze-and-excitation layers had their present names.
    KeyStyle::new("pretrainedmodels", &["senet"], CADENE_SENET),
    KeyStyle::new("pretrainedmodels", &["vgg"], CADENE_VGG),
    KeyStyle::new(
        "pretrainedmodels",
        &["densenet"],
        &[("last_linear.", "classifier.")],
    ),
    KeyStyle {
        ignored: &["AuxLogits."],
        ..KeyStyle::new(
            "pretrainedmodels",
            &["inception_v3"],
            &[("last_linear.", "fc.")],
        )
    },
    KeyStyle::new(
        "pretrainedmodels",
        &["resnet", "wide_resnet", "resnext", "legacy_xception"],
        &[("last_linear.", "fc.")],
    ),
];

const TRANSFORMERS: &[Rule] = &[
    ("resnet.", ""),
    ("embedder.embedder.convolution.", "conv1."),
    ("embedder.embedder.normalization.", "bn1."),
    ("encoder.stages.#.layers.#.", "layer#+1.#."),
    (".layer.#.convolution.", ".conv#+1."),
    (".layer.#.normalization.", ".bn#+1."),
    (".shortcut.convolution.", ".downsample.0."),
    (".shortcut.normalization.", ".downsample.1."),
    ("classifier.1.", "fc."),
];

/// Linear layers where timm has convolutions. PyTorch's ImageNet example wraps `features` alone.
const TORCHVISION_VGG: &[Rule] = &[
    ("features.module.", "features."),
    ("classifier.0.", "pre_logits.fc1."),
    ("classifier.3.", "pre_logits.fc2."),
    ("classifier.6.", "head.fc."),
];

/// The keys of torchvision's files. torchvision renames them while loading.
const TORCHVISION_DENSENET: &[Rule] = &[(".norm.#.", ".norm#."), (".conv.#.", ".conv#.")];

/// The number of a layer, and numbers within a block. The first block does not expand.
const TORCHVISION_MOBILENET: &[Rule] = &[
    ("features.0.0.", "conv_stem."),
    ("features.0.1.", "bn1."),
    ("features.18.0.", "conv_head."),
    ("features.18.1.", "bn2."),
    ("classifier.1.", "classifier."),
    ("features.1.conv.0.0.", "blocks.0.0.conv_dw."),
    ("features.1.conv.0.1.", "blocks.0.0.bn1."),
    ("features.1.conv.1.", "blocks.0.0.conv_pw."),
    ("features.1.conv.2.", "blocks.0.0.bn2."),
    ("features.#.", "blocks.%-1."),
    (".conv.0.0.", ".conv_pw."),
    (".conv.0.1.", ".bn1."),
    (".conv.1.0.", ".conv_dw."),
    (".conv.1.1.", ".bn2."),
    (".conv.2.", ".conv_pwl."),
    (".conv.3.", ".bn3."),
];

/// The number of a stage, and numbers within a block. The blocks of the first stage do not expand.
const TORCHVISION_EFFICIENTNET: &[Rule] = &[
    ("features.0.0.", "conv_stem."),
    ("features.0.1.", "bn1."),
    ("features.8.0.", "conv_head."),
    ("features.8.1.", "bn2."),
    ("classifier.1.", "classifier."),
    ("features.1.#.block.0.0.", "blocks.0.#.conv_dw."),
    ("features.1.#.block.0.1.", "blocks.0.#.bn1."),
    ("features.1.#.block.1.fc1.", "blocks.0.#.se.conv_reduce."),
    ("features.1.#.block.1.fc2.", "blocks.0.#.se.conv_expand."),
    ("features.1.#.block.2.0.", "blocks.0.#.conv_pw."),
    ("features.1.#.block.2.1.", "blocks.0.#.bn2."),
    ("features.#.#.", "blocks.#-1.#."),
    (".block.0.0.", ".conv_pw."),
    (".block.0.1.", ".bn1."),
    (".block.1.0.", ".conv_dw."),
    (".block.1.1.", ".bn2."),
    (".block.2.fc1.", ".se.conv_reduce."),
    (".block.2.fc2.", ".se.conv_expand."),
    (".block.3.0.", ".conv_pwl."),
    (".block.3.1.", ".bn3."),
];

/// Blocks without stages. The blocks of the first stage do not expand.
const LUKEMELAS: &[Rule] = &[
    ("_conv_stem.", "conv_stem."),
    ("_bn0.", "bn1."),
    ("_conv_head.", "conv_head."),
    ("_bn1.", "bn2."),
    ("_fc.", "classifier."),
    ("_blocks.#.", "blocks.%."),
    ("blocks.0.#._depthwise_conv.", "blocks.0.#.conv_dw."),
    ("blocks.0.#._bn1.", "blocks.0.#.bn1."),
    ("blocks.0.#._project_conv.", "blocks.0.#.conv_pw."),
    ("blocks.0.#._bn2.", "blocks.0.#.bn2."),
    ("._expand_conv.", ".conv_pw."),
    ("._bn0.", ".bn1."),
    ("._depthwise_conv.", ".conv_dw."),
    ("._bn1.", ".bn2."),
    ("._se_reduce.", ".se.conv_reduce."),
    ("._se_expand.", ".se.conv_expand."),
    ("._project_conv.", ".conv_pwl."),
    ("._bn2.", ".bn3."),
];

const CADENE_SENET: &[Rule] = &[
    ("layer0.", ""),
    (".se_module.", ".se."),
    (".conv_reduce.", ".fc1."),
    (".conv_expand.", ".fc2."),
    ("last_linear.", "fc."),
];

const CADENE_VGG: &[Rule] = &[
    ("_features.", "features."),
    ("linear0.", "pre_logits.fc1."),
    ("linear1.", "pre_logits.fc2."),
    ("last_linear.", "head.fc."),
];
