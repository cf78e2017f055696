//! Intermediate feature maps.

use candle_core::{DType, Device, Result};
use candle_mish::nn::ParamStore;
use candle_mish::ops::global_avg_pool2d;
use candle_mish_models::{FeatureInfo, Mode, Model, ModelSpec, Stem, create, entries, find};

use crate::rule;

fn network(spec: &ModelSpec) -> Result<Box<dyn Model>> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    create(spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    create(spec, store.frozen().var_builder()).map_err(candle_core::Error::wrap)
}

/// Channels and reduction of timm's networks: `feature_info` in timm 1.0.31.
const TIMM: [(&str, &[(usize, usize)]); 22] = [
    (
        "resnet18",
        &[(64, 2), (64, 4), (128, 8), (256, 16), (512, 32)],
    ),
    (
        "resnet50",
        &[(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)],
    ),
    (
        "wide_resnet50_2",
        &[(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)],
    ),
    (
        "resnext50_32x4d",
        &[(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)],
    ),
    (
        "seresnet18",
        &[(64, 2), (64, 4), (128, 8), (256, 16), (512, 32)],
    ),
    (
        "densenet121",
        &[(64, 2), (256, 4), (512, 8), (1024, 16), (1024, 32)],
    ),
    (
        "densenet161",
        &[(96, 2), (384, 4), (768, 8), (2112, 16), (2208, 32)],
    ),
    (
        "densenet169",
        &[(64, 2), (256, 4), (512, 8), (1280, 16), (1664, 32)],
    ),
    (
        "densenet201",
        &[(64, 2), (256, 4), (512, 8), (1792, 16), (1920, 32)],
    ),
    (
        "vgg11",
        &[(64, 1), (128, 2), (256, 4), (512, 8), (512, 16), (512, 32)],
    ),
    (
        "vgg16_bn",
        &[(64, 1), (128, 2), (256, 4), (512, 8), (512, 16), (512, 32)],
    ),
    (
        "mobilenetv1_100",
        &[(64, 2), (128, 4), (256, 8), (512, 16), (1024, 32)],
    ),
    (
        "mobilenetv2_100",
        &[(16, 2), (24, 4), (32, 8), (96, 16), (320, 32)],
    ),
    (
        "efficientnet_b0",
        &[(16, 2), (24, 4), (40, 8), (112, 16), (320, 32)],
    ),
    (
        "efficientnet_b2",
        &[(16, 2), (24, 4), (48, 8), (120, 16), (352, 32)],
    ),
    (
        "tf_efficientnet_b0",
        &[(16, 2), (24, 4), (40, 8), (112, 16), (320, 32)],
    ),
    (
        "inception_v3",
        &[(64, 2), (192, 4), (288, 8), (768, 16), (2048, 32)],
    ),
    (
        "inception_resnet_v2",
        &[(64, 2), (192, 4), (320, 8), (1088, 16), (1536, 32)],
    ),
    (
        "legacy_xception",
        &[(64, 2), (128, 4), (256, 8), (728, 16), (2048, 32)],
    ),
    (
        "xception41",
        &[(128, 2), (256, 4), (728, 8), (1024, 16), (2048, 32)],
    ),
    (
        "darknet53",
        &[(32, 1), (64, 2), (128, 4), (256, 8), (512, 16), (1024, 32)],
    ),
    (
        "cspresnext50",
        &[(64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32)],
    ),
];

#[test]
fn maps_are_those_of_timm() -> Result<()> {
    for (name, maps) in TIMM {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        let model = create(&ModelSpec::imagenet(name), store.var_builder());
        let model = model.map_err(candle_core::Error::wrap)?;
        let found: Vec<(usize, usize)> = model
            .feature_info()
            .iter()
            .map(|info| (info.channels, info.reduction))
            .collect();
        assert_eq!(found, maps, "{name}");
    }
    Ok(())
}

/// Networks whose features are not the mean of the last map: they have another convolution or dense
/// layers after it, take the maximum, or have no maps.
const OTHER_FEATURES: [&str; 22] = [
    "airbench94",
    "airbench95",
    "speedrun75",
    "capsnet",
    "capsnet_reconstruction",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "tf_efficientnet_b0",
    "tf_efficientnet_b1",
    "tf_efficientnet_b2",
    "mobilenetv2_100",
    "resnet9",
    "shufflenet_v2_x1_0",
    "simplenet",
    "mlp_5x500",
    "lenet4",
    "minivgg",
    "cnn4",
    "conv2_mlp_2x500",
    "conv2_mlp_12x500",
    "conv4_mlp_1x512",
];

/// Prefixes of the names of networks with convolutions that lose rows at the border.
const UNPADDED: [&str; 9] = [
    "airbench",
    "capsnet",
    "cnn4",
    "conv2_mlp",
    "conv4_mlp",
    "inception",
    "legacy_xception",
    "speedrun",
    "squeezenet",
];

fn check(spec: &ModelSpec, size: usize) -> Result<()> {
    let name = &spec.model;
    let model = network(spec)?;
    let images = rule::images((2, 3, size, size))?;
    let info: Vec<FeatureInfo> = model.feature_info().to_vec();
    let indices: Vec<usize> = (0..info.len()).collect();
    let maps = model.feature_maps(&images, &indices, Mode::Eval)?;
    assert_eq!(maps.len(), info.len(), "{name}");
    for (map, info) in maps.iter().zip(&info) {
        let (n, channels, height, width) = map.dims4()?;
        assert_eq!((n, channels), (2, info.channels), "{name}: {info:?}");
        assert_eq!(height, width, "{name}: {info:?}");
        let padded = size.div_ceil(info.reduction);
        if UNPADDED.iter().any(|start| name.starts_with(start)) {
            let fits = height <= padded && height + 8 >= padded;
            assert!(fits, "{name}: {info:?} has {height} rows");
        } else {
            assert_eq!(height, padded, "{name}: {info:?}");
        }
    }
    let reductions: Vec<usize> = info.iter().map(|info| info.reduction).collect();
    assert!(reductions.is_sorted(), "{name}: {reductions:?}");
    // Any order, and an index twice.
    if let Some(last) = maps.last() {
        let again = model.feature_maps(&images, &[info.len() - 1, 0, 0], Mode::Eval)?;
        let values = |map: &candle_core::Tensor| map.flatten_all()?.to_vec1::<f32>();
        assert_eq!(values(&again[0])?, values(last)?, "{name}");
        assert_eq!(values(&again[1])?, values(&maps[0])?, "{name}");
        assert_eq!(values(&again[2])?, values(&maps[0])?, "{name}");
        let other = OTHER_FEATURES.contains(&&**name)
            || (name.starts_with("vgg") && spec.stem == Stem::ImageNet);
        if !other {
            let pooled = values(&global_avg_pool2d(last)?)?;
            let features = values(&model.features(&images, Mode::Eval)?)?;
            assert_eq!(pooled, features, "{name}");
        }
    }
    let error = model.feature_maps(&images, &[info.len()], Mode::Eval);
    let error = error.expect_err("out of range").to_string();
    assert!(error.contains("out_indices"), "{name}: {error}");
    Ok(())
}

#[test]
fn maps_have_the_shapes_that_are_stated() -> Result<()> {
    for entry in entries().filter(|entry| entry.cifar.multiply_adds < 600_000_000) {
        check(&ModelSpec::new(entry.name), 32)?;
    }
    Ok(())
}

#[test]
fn maps_of_the_imagenet_form_have_the_shapes_that_are_stated() -> Result<()> {
    let quick = entries().filter(|entry| {
        entry
            .imagenet
            .is_some_and(|form| form.multiply_adds < 1_000_000_000)
    });
    let others = ["resnet18", "xception41", "inception_v3", "darknet53"];
    let others = others.into_iter().filter_map(|name| find(name).ok());
    for entry in quick.chain(others) {
        let spec = ModelSpec {
            num_classes: 10,
            ..ModelSpec::imagenet(entry.name)
        };
        check(&spec, 96)?;
    }
    Ok(())
}
