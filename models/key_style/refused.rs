//! Styles of networks that differ from the registry's, although they have the same name in the
//! literature. Their weights cannot be loaded, or would give other logits.

use std::collections::HashMap;

use candle_core::Tensor;

use super::covers;
use crate::entry::Entry;
use crate::pattern::find;

/// A network of another program that differs from the registry's.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The program, or the repository on GitHub.
    pub name: &'static str,
    /// The registry's networks that it resembles: names or families. `*` matches any characters.
    models: &'static [&'static str],
    /// Tensors that only this network has, as patterns of their keys, with their shapes. An empty
    /// shape is any.
    tensors: &'static [(&'static str, &'static [usize])],
    /// How it differs.
    pub reason: &'static str,
}

impl Refused {
    /// Whether the checkpoint has this network's tensors, below any prefix.
    fn describes(&self, checkpoint: &HashMap<String, Tensor>) -> bool {
        let has = |(pattern, shape): &(&str, &[usize])| {
            let anywhere = format!(".{pattern}");
            checkpoint.iter().any(|(key, tensor)| {
                let found = find(pattern, key).or_else(|| find(&anywhere, key));
                found.is_some_and(|(_, _, after)| after.is_empty())
                    && (shape.is_empty() || *shape == tensor.dims())
            })
        };
        self.tensors.iter().all(has)
    }
}

/// The refused style of a checkpoint for the network of `entry`.
pub(crate) fn refused(
    entry: &Entry,
    checkpoint: &HashMap<String, Tensor>,
) -> Option<&'static Refused> {
    let mut all = REFUSED.iter();
    all.find(|refused| covers(refused.models, entry) && refused.describes(checkpoint))
}

const KUANGLIU: &str = "kuangliu/pytorch-cifar";
const WEIAICUNZAI: &str = "weiaicunzai/pytorch-cifar100";

const PRE_ACTIVATION: &str = "its network is a pre-activation ResNet";

static REFUSED: [Refused; 20] = [
    Refused {
        name: "lukemelas/EfficientNet-PyTorch",
        models: &["efficientnet_b*"],
        tensors: &[("_blocks.0._depthwise_conv.weight", &[])],
        reason: "its convolutions have TensorFlow's padding and its norms another epsilon: name \
                 the model tf_efficientnet_b0, b1 or b2",
    },
    Refused {
        name: "chenyaofo/pytorch-cifar-models",
        models: &["vgg"],
        tensors: &[("classifier.0.weight", &[512, 512])],
        reason: "its VGG has two hidden layers of 512 channels before the classifier",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["vgg"],
        tensors: &[("classifier.0.weight", &[4096, 512])],
        reason: "its VGG has two hidden layers of 4096 channels after 1x1 maps",
    },
    Refused {
        name: KUANGLIU,
        models: &["densenet"],
        tensors: &[("dense1.0.conv1.weight", &[]), ("trans1.bn.weight", &[])],
        reason: "its DenseNet has no norm after the first convolution, and each layer puts its new \
                 channels first",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["densenet"],
        tensors: &[("features.transition_layer_0.down_sample.0.weight", &[])],
        reason: "its DenseNet has no norm after the first convolution, and no activation in its \
                 transitions",
    },
    Refused {
        name: KUANGLIU,
        models: &["mobilenetv2_*"],
        tensors: &[
            ("layers.1.shortcut.0.weight", &[]),
            ("layers.0.conv3.weight", &[]),
        ],
        reason: "the first block of its MobileNet v2 has an expansion, and blocks that change the \
                 channels have a shortcut",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["mobilenetv2_*"],
        tensors: &[
            ("stage1.residual.0.weight", &[]),
            ("stage2.0.residual.0.weight", &[]),
        ],
        reason: "its MobileNet v2 starts with a 1x1 convolution and has other strides",
    },
    Refused {
        name: KUANGLIU,
        models: &["efficientnet_b*", "tf_efficientnet_b*"],
        tensors: &[("layers.0.se.se1.weight", &[])],
        reason: "its EfficientNet has no convolution after the blocks",
    },
    Refused {
        name: KUANGLIU,
        models: &["resnext"],
        tensors: &[
            ("conv1.weight", &[64, 3, 1, 1]),
            ("layer3.0.shortcut.0.weight", &[]),
        ],
        reason: "its ResNeXt-29 starts with a 1x1 convolution and has three stages",
    },
    Refused {
        name: "bearpaw/pytorch-classification",
        models: &["resnext"],
        tensors: &[("conv_1_3x3.weight", &[])],
        reason: "its ResNeXt-29 has three stages",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["resnext"],
        tensors: &[("conv2.0.split_transforms.0.weight", &[])],
        reason: "the first 1x1 convolution of each block of its ResNeXt is grouped",
    },
    Refused {
        name: KUANGLIU,
        models: &["senet"],
        tensors: &[("layer1.0.fc1.weight", &[4, 64, 1, 1])],
        reason: "the first attention layers of its SENet have 4 hidden channels, not 8",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["senet"],
        tensors: &[("stage1.0.excitation.0.weight", &[])],
        reason: "the blocks of its SE-ResNet have an activation before the attention",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["squeezenet1_*"],
        tensors: &[("fire2.expand_1x1.0.weight", &[])],
        reason: "its SqueezeNet has batch norm and shortcuts: name the model squeezenet_bn",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["wide_resnet"],
        tensors: &[
            ("init_conv.weight", &[]),
            ("conv2.0.residual.2.weight", &[]),
        ],
        reason: "the shortcuts of its Wide ResNet take the input before the norm",
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["shufflenet_v2_*"],
        tensors: &[("pre.0.weight", &[]), ("stage2.0.residual.0.weight", &[])],
        reason: "its ShuffleNet v2 has no activation after the first convolution",
    },
    Refused {
        name: KUANGLIU,
        models: &["resnet18", "resnet34"],
        tensors: &[
            ("layer1.0.bn1.weight", &[64]),
            ("layer2.0.bn1.weight", &[64]),
        ],
        reason: PRE_ACTIVATION,
    },
    Refused {
        name: KUANGLIU,
        models: &["resnet50", "resnet101", "resnet152"],
        tensors: &[
            ("layer1.0.bn1.weight", &[64]),
            ("layer2.0.bn1.weight", &[256]),
        ],
        reason: PRE_ACTIVATION,
    },
    Refused {
        name: WEIAICUNZAI,
        models: &["resnet"],
        tensors: &[("pre.0.weight", &[]), ("stage1.0.residual.0.weight", &[64])],
        reason: PRE_ACTIVATION,
    },
    Refused {
        name: "bearpaw/pytorch-classification",
        models: &[
            "resnet20",
            "resnet32",
            "resnet44",
            "resnet56",
            "resnet110",
            "resnet164",
        ],
        tensors: &[
            ("layer1.0.bn1.weight", &[16]),
            ("layer2.0.bn1.weight", &[16]),
        ],
        reason: PRE_ACTIVATION,
    },
];
