//! The table of weights.
//!
//! The ImageNet weights are all that timm 1.0.31 lists for networks of the same name
//! (`timm.list_pretrained`, `timm.get_pretrained_cfg`), timm's default first, except
//! `resnet50.bamboo`, which has no classifier. timm has no weights on the Hub for legacy_xception,
//! seresnet18, seresnet34, SqueezeNet, ShuffleNet and PeleeNet.
//!
//! The CIFAR weights are by E. Dadalto (`detectors`, github.com/edadaltocg/detectors): timm's
//! networks with the first layers of the CIFAR ports.

use candle_mish::activation::Activation;

use crate::pretrained::row::Pretrained;
use crate::spec::Stem;

/// Mean and standard deviation of each channel.
type Normalisation = ([f32; 3], [f32; 3]);

const IMAGENET: Normalisation = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const HALF: Normalisation = ([0.5; 3], [0.5; 3]);
const CIFAR10: Normalisation = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]);
const CIFAR100: Normalisation = ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]);

const BILINEAR: &str = "bilinear";
const BICUBIC: &str = "bicubic";

const RELU: Activation = Activation::Relu;
const RELU6: Activation = Activation::Relu6;
const SILU: Activation = Activation::Silu;
/// PyTorch's default slope, which timm's DarkNets use. The paper has 0.1.
const LEAKY: Activation = Activation::LeakyRelu { slope: 0.01 };

const APACHE: &str = "Apache-2.0";
const BSD: &str = "BSD-3-Clause";
const CC_BY_NC: &str = "CC-BY-NC-4.0";
const MIT: &str = "MIT";

/// ImageNet weights in timm's repository of that name: model, tag, image size, crop share, resize
/// filter, normalisation, licence, and the activation if it is not ReLU.
macro_rules! timm {
    ($model:literal, $tag:literal, $($rest:tt),+) => {
        timm!(@ $model, $tag, concat!("timm/", $model, ".", $tag), $($rest),+)
    };
    (@ $model:literal, $tag:literal, $repo:expr,
     $size:literal, $crop:literal, $filter:ident, $norm:ident, $license:ident) => {
        timm!(@ $model, $tag, $repo, $size, $crop, $filter, $norm, $license, RELU)
    };
    (@ $model:literal, $tag:literal, $repo:expr,
     $size:literal, $crop:literal, $filter:ident, $norm:ident, $license:ident, $act:ident) => {
        Pretrained {
            model: $model,
            tag: $tag,
            repo: $repo,
            file: "model.safetensors",
            stem: Stem::ImageNet,
            activation: $act,
            num_classes: 1000,
            input_size: $size,
            crop_pct: $crop,
            interpolation: $filter,
            mean: $norm.0,
            std: $norm.1,
            license: $license,
        }
    };
}

/// Weights for 32x32 images.
macro_rules! cifar {
    ($model:literal, $tag:literal, $num_classes:literal, $norm:ident) => {
        Pretrained {
            model: $model,
            tag: $tag,
            repo: concat!("edadaltocg/", $model, "_", $tag),
            file: "pytorch_model.bin",
            stem: Stem::Cifar,
            activation: RELU,
            num_classes: $num_classes,
            input_size: 32,
            crop_pct: 1.0,
            interpolation: BILINEAR,
            mean: $norm.0,
            std: $norm.1,
            license: MIT,
        }
    };
}

#[rustfmt::skip]
pub(super) const ROWS: &[Pretrained] = &[
    timm!("resnet18", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet18", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet18", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet18", "fb_ssl_yfcc100m_ft_in1k", 224, 0.875, BILINEAR, IMAGENET, CC_BY_NC),
    timm!("resnet18", "fb_swsl_ig1b_ft_in1k", 224, 0.875, BILINEAR, IMAGENET, CC_BY_NC),
    timm!("resnet18", "gluon_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet18", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    cifar!("resnet18", "cifar100", 100, CIFAR100),
    cifar!("resnet18", "cifar10", 10, CIFAR10),
    timm!("resnet34", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet34", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet34", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet34", "bt_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet34", "gluon_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet34", "ra4_e3600_r224_in1k", 224, 0.9, BICUBIC, HALF, APACHE),
    timm!("resnet34", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    cifar!("resnet34", "cifar100", 100, CIFAR100),
    cifar!("resnet34", "cifar10", 10, CIFAR10),
    timm!("resnet50", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "a1h_in1k", 176, 0.9, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "am_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "b1k_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "b2k_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "bt_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "c1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "c2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "d_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "fb_ssl_yfcc100m_ft_in1k", 224, 0.875, BILINEAR, IMAGENET, CC_BY_NC),
    timm!("resnet50", "fb_swsl_ig1b_ft_in1k", 224, 0.875, BILINEAR, IMAGENET, CC_BY_NC),
    timm!("resnet50", "gluon_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "ra_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "ram_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet50", "tv2_in1k", 176, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("resnet50", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    cifar!("resnet50", "cifar100", 100, CIFAR100),
    cifar!("resnet50", "cifar10", 10, CIFAR10),
    timm!("resnet101", "a1h_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet101", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet101", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet101", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet101", "gluon_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet101", "tv2_in1k", 176, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("resnet101", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("resnet152", "a1h_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet152", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet152", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet152", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnet152", "gluon_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnet152", "tv2_in1k", 176, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("resnet152", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("wide_resnet50_2", "racm_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("wide_resnet50_2", "tv2_in1k", 176, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("wide_resnet50_2", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("resnext50_32x4d", "a1h_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnext50_32x4d", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnext50_32x4d", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnext50_32x4d", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("resnext50_32x4d", "fb_ssl_yfcc100m_ft_in1k", 224, 0.875, BILINEAR, IMAGENET, CC_BY_NC),
    timm!("resnext50_32x4d", "fb_swsl_ig1b_ft_in1k", 224, 0.875, BILINEAR, IMAGENET, CC_BY_NC),
    timm!("resnext50_32x4d", "gluon_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnext50_32x4d", "ra_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("resnext50_32x4d", "tv2_in1k", 176, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("resnext50_32x4d", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("seresnet50", "a1_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("seresnet50", "a2_in1k", 224, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("seresnet50", "a3_in1k", 160, 0.95, BICUBIC, IMAGENET, APACHE),
    timm!("seresnet50", "ra2_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("densenet121", "ra_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("densenet121", "tv_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("densenet161", "tv_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("densenet169", "tv_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("densenet201", "tv_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("vgg11", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("vgg11_bn", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("vgg13", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("vgg13_bn", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("vgg16", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("vgg16_bn", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    cifar!("vgg16_bn", "cifar100", 100, CIFAR100),
    cifar!("vgg16_bn", "cifar10", 10, CIFAR10),
    timm!("vgg19", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("vgg19_bn", "tv_in1k", 224, 0.875, BILINEAR, IMAGENET, BSD),
    timm!("mobilenetv1_100", "ra4_e3600_r224_in1k", 224, 0.875, BICUBIC, HALF, APACHE, RELU6),
    timm!("mobilenetv2_100", "ra_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE, RELU6),
    timm!("efficientnet_b0", "ra_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("efficientnet_b0", "ra4_e3600_r224_in1k", 224, 0.9, BICUBIC, HALF, APACHE, SILU),
    timm!("efficientnet_b1", "ra4_e3600_r240_in1k", 240, 0.9, BICUBIC, HALF, APACHE, SILU),
    timm!("efficientnet_b1", "ft_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("efficientnet_b2", "ra_in1k", 256, 0.875, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b0", "ns_jft_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b0", "aa_in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b0", "ap_in1k", 224, 0.875, BICUBIC, HALF, APACHE, SILU),
    timm!("tf_efficientnet_b0", "in1k", 224, 0.875, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b1", "ns_jft_in1k", 240, 0.882, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b1", "aa_in1k", 240, 0.882, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b1", "ap_in1k", 240, 0.882, BICUBIC, HALF, APACHE, SILU),
    timm!("tf_efficientnet_b1", "in1k", 240, 0.882, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b2", "ns_jft_in1k", 260, 0.89, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b2", "aa_in1k", 260, 0.89, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("tf_efficientnet_b2", "ap_in1k", 260, 0.89, BICUBIC, HALF, APACHE, SILU),
    timm!("tf_efficientnet_b2", "in1k", 260, 0.89, BICUBIC, IMAGENET, APACHE, SILU),
    timm!("inception_v3", "tv_in1k", 299, 0.875, BICUBIC, HALF, APACHE),
    timm!("inception_v3", "gluon_in1k", 299, 0.875, BICUBIC, IMAGENET, APACHE),
    timm!("inception_v3", "tf_adv_in1k", 299, 0.875, BICUBIC, HALF, APACHE),
    timm!("inception_v3", "tf_in1k", 299, 0.875, BICUBIC, HALF, APACHE),
    timm!("inception_resnet_v2", "tf_in1k", 299, 0.8975, BICUBIC, HALF, APACHE),
    timm!("inception_resnet_v2", "tf_ens_adv_in1k", 299, 0.8975, BICUBIC, HALF, APACHE),
    timm!("xception41", "tf_in1k", 299, 0.903, BICUBIC, HALF, APACHE),
    timm!("darknet53", "c2ns_in1k", 256, 0.887, BICUBIC, IMAGENET, APACHE, LEAKY),
    timm!("cspdarknet53", "ra_in1k", 256, 0.887, BILINEAR, IMAGENET, APACHE, LEAKY),
    timm!("cspresnet50", "ra_in1k", 256, 0.887, BILINEAR, IMAGENET, APACHE, LEAKY),
    timm!("cspresnext50", "ra_in1k", 256, 0.887, BILINEAR, IMAGENET, APACHE, LEAKY),
];
