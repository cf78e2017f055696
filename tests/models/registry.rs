//! Properties of every network of the registry.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::activation::{Activation, LayerActivations};
use candle_mish::autograd::value_and_grad;
use candle_mish::nn::{ParamStore, summarize};
use candle_mish::ops::MemoryFormat;
use candle_mish_models::{
    BuildContext, Entry, Mode, Model, ModelError, ModelSpec, Stem, Swap, create, create_with,
    entries, find, list, reset_classifier,
};

use crate::rule;

/// The gain of the rule's weights. With it the logits of most networks depend on the first layers.
const GAIN: f64 = 1.4;

fn spec(entry: &Entry, activation: &str) -> ModelSpec {
    ModelSpec {
        activation: activation.parse().expect("a known activation"),
        ..ModelSpec::new(entry.name)
    }
}

fn build(spec: &ModelSpec) -> Result<(ParamStore, Box<dyn Model>)> {
    build_with(spec, &BuildContext::default())
}

fn build_with(spec: &ModelSpec, context: &BuildContext) -> Result<(ParamStore, Box<dyn Model>)> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let model =
        create_with(spec, context, store.var_builder()).map_err(candle_core::Error::wrap)?;
    Ok((store, model))
}

/// Whether a weight is not trained.
pub fn is_fixed(network: &str, name: &str) -> bool {
    let norm = name.ends_with(".norm1.weight") || name.ends_with(".norm2.weight");
    match network {
        "speedrun75" => name == "stem.conv.weight",
        _ => network.starts_with("airbench") && (name == "whiten.weight" || norm),
    }
}

/// Sets norms that start at zero to one: their residual branches have no output and no gradient.
fn wake_branches(store: &ParamStore) -> Result<()> {
    for (name, var) in store.params() {
        let zero = var.abs()?.sum_all()?.to_scalar::<f32>()? == 0.0;
        if zero && name.ends_with("weight") {
            var.set(&var.ones_like()?)?;
        }
    }
    Ok(())
}

fn images(entry: &Entry, batch: usize) -> Result<Tensor> {
    let (c, h, w) = entry.cifar.input;
    rule::images((batch, c, h, w))
}

/// Networks that only repeat or widen the blocks of another one, which is named next to them. Tests
/// that run a network many times leave them out.
const REPEATS: [(&str, &str); 28] = [
    ("resnet34", "resnet18"),
    ("resnet101", "resnet50"),
    ("resnet152", "resnet50"),
    ("wide_resnet50_2", "resnet50"),
    ("seresnet34", "seresnet18"),
    ("resnet56", "resnet20"),
    ("resnet110", "resnet20"),
    ("resnet164", "resnet20"),
    ("resnetv2_56", "resnetv2_20"),
    ("resnetv2_110", "resnetv2_20"),
    ("resnetv2_164", "resnetv2_20"),
    ("resnetv2_245", "resnetv2_20"),
    ("wrn22_10", "wrn16_4"),
    ("wrn28_10", "wrn16_4"),
    ("wrn40_4", "wrn16_4"),
    ("densenet161", "densenet121"),
    ("densenet169", "densenet121"),
    ("densenet201", "densenet121"),
    ("tf_efficientnet_b1", "tf_efficientnet_b0"),
    ("tf_efficientnet_b2", "tf_efficientnet_b0"),
    ("vgg13", "vgg11"),
    ("vgg13_bn", "vgg11_bn"),
    ("vgg16", "vgg11"),
    ("vgg16_bn", "vgg11_bn"),
    ("vgg19", "vgg11"),
    ("vgg19_bn", "vgg11_bn"),
    ("conv2_mlp_12x500", "conv2_mlp_2x500"),
    ("airbench95", "airbench94"),
];

/// All networks without repetitions.
fn distinct() -> impl Iterator<Item = &'static Entry> {
    entries().filter(|entry| REPEATS.iter().all(|(repeat, _)| *repeat != entry.name))
}

#[test]
fn repetitions_are_of_networks_that_are_tested() {
    for (repeat, of) in REPEATS {
        let family = |name| find(name).expect("listed").family;
        assert!(distinct().any(|entry| entry.name == of), "{of}");
        let widened = repeat == "wide_resnet50_2";
        assert!(widened || family(repeat) == family(of), "{repeat}");
    }
}

/// The quickest network of each family that has an ImageNet form.
fn quickest_for_imagenet() -> impl Iterator<Item = &'static Entry> {
    let cost = |entry: &&Entry| entry.imagenet.map_or(u64::MAX, |form| form.multiply_adds);
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    families.into_iter().filter_map(move |family| {
        let members = entries().filter(|entry| entry.family == family);
        members.min_by_key(cost).filter(|e| e.imagenet.is_some())
    })
}

#[test]
fn names_are_unique_and_parameter_counts_are_as_stated() -> Result<()> {
    let mut names = Vec::new();
    for entry in entries() {
        for (_, stem) in Stem::ALL {
            let Ok(form) = entry.form(stem) else { continue };
            let num_classes = if stem == Stem::Cifar { 100 } else { 1000 };
            let spec = ModelSpec {
                stem,
                num_classes,
                ..spec(entry, "relu")
            };
            let (store, _) = build(&spec)?;
            assert_eq!(store.num_params(), form.params, "{} {stem}", entry.name);
        }
        assert!(!names.contains(&entry.name), "{} twice", entry.name);
        names.push(entry.name);
    }
    assert!(!names.is_empty());
    Ok(())
}

#[test]
fn shapes_are_right_and_values_finite() -> Result<()> {
    for entry in distinct() {
        for num_classes in [100, 10] {
            let spec = ModelSpec {
                num_classes,
                ..spec(entry, "mish")
            };
            let (_, model) = build(&spec)?;
            for batch in [1, 3] {
                let x = images(entry, batch)?;
                let logits = model.forward_t(&x, false)?;
                assert_eq!(logits.dims(), [batch, num_classes], "{}", entry.name);
                let sum = logits.abs()?.sum_all()?.to_scalar::<f32>()?;
                assert!(sum.is_finite() && sum > 0.0, "{}: {sum}", entry.name);
                let features = model.features(&x, Mode::Eval)?;
                assert_eq!(features.dims(), [batch, model.num_features()]);
            }
        }
    }
    Ok(())
}

/// The parameters whose gradient is zero with weights of this seed.
fn without_gradient(entry: &Entry, spec: &ModelSpec, x: &Tensor, seed: u64) -> Result<Vec<String>> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, seed);
    let model = create(spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    wake_branches(&store)?;
    let labels = [3u32, 71, 0, 99].into_iter().cycle().take(x.dim(0)?);
    let labels = Tensor::from_iter(labels, &Device::Cpu)?;
    let (_, (), gradients) = value_and_grad(|| {
        let sum_of_squares = |logits: Tensor| logits.sqr()?.sum_all();
        let Some(network) = model.auxiliary() else {
            return Ok((sum_of_squares(model.forward_t(x, true)?)?, ()));
        };
        let (logits, own) = network.forward_with_loss(x, &labels)?;
        Ok(((sum_of_squares(logits)? + own)?, ()))
    })?;
    let mut silent = Vec::new();
    for (name, var) in store.params() {
        let Some(gradient) = gradients.get(&var) else {
            assert!(
                is_fixed(entry.name, &name),
                "{}: no gradient for {name}",
                entry.name
            );
            continue;
        };
        assert_eq!(gradient.shape(), var.shape(), "{}: {name}", entry.name);
        let norm = gradient.sqr()?.sum_all()?.to_scalar::<f32>()?;
        assert!(norm.is_finite(), "{}: {name} has {norm}", entry.name);
        // The bias of a convolution before a batch norm has no effect, so its gradient is rounding.
        let weight = name.replace("bias", "weight");
        let of_convolution = |p: &(String, Var)| p.0 == weight && p.1.rank() == 4;
        let shifted_away = name.ends_with("bias")
            && !store.buffers().is_empty()
            && store.params().iter().any(of_convolution);
        if norm == 0.0 && !shifted_away {
            silent.push(name);
        }
    }
    Ok(silent)
}

/// Checks that every parameter has a gradient with some seed. By chance, a few slopes see no
/// negative value, and a few weights follow a dead activation.
fn assert_gradients(entry: &Entry, spec: &ModelSpec, x: &Tensor) -> Result<()> {
    let mut silent = without_gradient(entry, spec, x, 0)?;
    for seed in 1..8 {
        if silent.is_empty() {
            break;
        }
        let others = without_gradient(entry, spec, x, seed)?;
        silent.retain(|name| others.contains(name));
    }
    assert!(silent.is_empty(), "{}: {silent:?} have none", entry.name);
    Ok(())
}

#[test]
fn every_parameter_receives_a_gradient() -> Result<()> {
    for entry in distinct() {
        // PReLU adds parameters, which must learn as well.
        for activation in ["mish", "prelu"] {
            assert_gradients(entry, &spec(entry, activation), &images(entry, 4)?)?;
        }
    }
    Ok(())
}

/// At an image size that is quick and that every network accepts.
#[test]
fn the_form_for_imagenet_holds_what_that_for_cifar_does() -> Result<()> {
    for entry in quickest_for_imagenet() {
        let name = entry.name;
        let spec = ModelSpec {
            num_classes: 100,
            ..ModelSpec::imagenet(name)
        };
        let (store, mut model) = build(&spec)?;
        let x = rule::images((2, 3, 96, 96))?;
        let logits = model.forward_t(&x, false)?;
        assert_eq!(logits.dims(), [2, 100], "{name}");
        let sum = logits.abs()?.sum_all()?.to_scalar::<f32>()?;
        assert!(sum.is_finite() && sum > 0.0, "{name}: {sum}");
        assert_gradients(entry, &spec, &x)?;

        let gray = Tensor::zeros((1, 4, 96, 96), DType::F32, &Device::Cpu)?;
        let error = model.forward_t(&gray, false).expect_err("another channel");
        assert!(error.to_string().contains("channels"), "{name}: {error}");
        for size in [1, 2, 5, 20] {
            assert_explained(entry, &*model, size)?;
        }
        let features = model.features(&x, Mode::Eval)?;
        assert_eq!(features.dims(), [2, model.num_features()], "{name}");
        reset_classifier(&mut *model, 7, &store)?;
        assert_eq!(model.forward_t(&x, false)?.dims(), [2, 7], "{name}");
        let same = model.features(&x, Mode::Eval)?.to_vec2::<f32>()?;
        assert_eq!(same, features.to_vec2::<f32>()?, "{name}");
    }
    Ok(())
}

#[test]
fn training_uses_batch_statistics_and_updates_the_running_ones() -> Result<()> {
    for entry in distinct() {
        let (store, model) = build(&spec(entry, "mish"))?;
        let x = images(entry, 4)?;
        let sums = |buffers: Vec<(String, Var)>| -> Result<Vec<f32>> {
            let floats = buffers.iter().filter(|(_, var)| var.dtype().is_float());
            floats.map(|(_, var)| var.sum_all()?.to_scalar()).collect()
        };
        let before = sums(store.buffers())?;
        let evaluated = model.forward_t(&x, false)?;
        assert_eq!(before, sums(store.buffers())?, "{}", entry.name);
        let trained = model.forward_t(&x, true)?;
        let after = sums(store.buffers())?;
        let changed = after.iter().zip(&before).all(|(a, b)| a != b);
        assert!(changed, "{}: a statistic stayed as it was", entry.name);
        let difference = (evaluated - trained)?.abs()?.max_all()?;
        let difference = difference.to_scalar::<f32>()?;
        // Without batch norm and dropout, training computes the same.
        let same = before.is_empty();
        assert_eq!(difference == 0.0, same, "{}: {difference}", entry.name);
    }
    Ok(())
}

#[test]
fn the_activation_is_really_another_one() -> Result<()> {
    for entry in distinct() {
        let mut outputs: Vec<Vec<f32>> = Vec::new();
        for activation in ["relu", "mish", "silu", "tanh", "leaky_relu:0.3"] {
            let (store, model) = build(&spec(entry, activation))?;
            rule::fill(&store, GAIN)?;
            let logits = model.forward_t(&images(entry, 1)?, false)?;
            let logits = logits.flatten_all()?.to_vec1()?;
            assert!(!outputs.contains(&logits), "{}: {activation}", entry.name);
            outputs.push(logits);
        }
    }
    Ok(())
}

/// The first call arranges the weights, the second uses them.
#[test]
fn a_constant_network_has_the_logits_of_a_changing_one() -> Result<()> {
    for entry in distinct() {
        let logits = |constant: bool| -> Result<[Vec<f32>; 2]> {
            let context = BuildContext {
                constant,
                ..BuildContext::default()
            };
            let (store, _) = build(&spec(entry, "mish"))?;
            let vb = store.frozen().var_builder();
            let model = create_with(&spec(entry, "mish"), &context, vb);
            let model = model.map_err(candle_core::Error::wrap)?;
            rule::fill(&store, GAIN)?;
            let call = || {
                let logits = model.forward_t(&images(entry, 1)?, false)?;
                logits.flatten_all()?.to_vec1()
            };
            Ok([call()?, call()?])
        };
        assert_eq!(logits(true)?, logits(false)?, "{}", entry.name);
    }
    Ok(())
}

/// Every network for inference: its ops keep or read channels-last images, and VGG divides its batch.
#[test]
fn a_channels_last_network_has_the_logits_of_a_changing_one_up_to_rounding() -> Result<()> {
    for entry in distinct() {
        let logits = |memory_format| -> Result<Vec<f32>> {
            let context = BuildContext {
                constant: memory_format == MemoryFormat::ChannelsLast,
                memory_format,
                ..BuildContext::default()
            };
            // Convolutions apply ReLU in registers.
            let spec = spec(entry, "relu");
            let (store, _) = build(&spec)?;
            let model = create_with(&spec, &context, store.frozen().var_builder());
            let model = model.map_err(candle_core::Error::wrap)?;
            rule::fill(&store, GAIN)?;
            let logits = model.forward_t(&images(entry, 3)?, false)?;
            assert!(logits.is_contiguous());
            logits.flatten_all()?.to_vec1()
        };
        let want = logits(MemoryFormat::Contiguous)?;
        let largest = want
            .iter()
            .fold(0.0, |largest: f32, x| largest.max(x.abs()));
        for (got, want) in logits(MemoryFormat::ChannelsLast)?.iter().zip(&want) {
            let error = (got - want).abs();
            assert!(error <= 1e-4 * largest, "{}: {got} for {want}", entry.name);
        }
    }
    Ok(())
}

#[test]
fn a_swapped_network_is_that_of_the_new_activation() -> Result<()> {
    for entry in distinct() {
        let logits = |activation: &str, swap: Option<Swap>| -> Result<Vec<f32>> {
            let context = BuildContext {
                swap,
                ..BuildContext::default()
            };
            let (store, model) = build_with(&spec(entry, activation), &context)?;
            rule::fill(&store, GAIN)?;
            let logits = model.forward_t(&images(entry, 1)?, false)?;
            logits.flatten_all()?.to_vec1()
        };
        let to_silu = |layers: &[String]| Swap {
            to: Activation::Silu,
            layers: layers.to_vec(),
            fitted: LayerActivations::default(),
            blend: None,
        };
        let name = entry.name;
        let own = logits("relu", None)?;
        assert_eq!(
            logits("relu", Some(to_silu(&[])))?,
            logits("silu", None)?,
            "{name}"
        );
        assert_eq!(
            logits("relu", Some(to_silu(&["none".to_string()])))?,
            own,
            "{name}"
        );
        let (_, model) = build(&spec(entry, "relu"))?;
        let (_, layers) = summarize(|| model.forward_t(&images(entry, 1)?, false))?;
        let paths = layers.iter().filter(|layer| layer.kind == "relu");
        let Some(first) = paths.map(|layer| layer.path.clone()).next() else {
            panic!("{name} has no activation")
        };
        assert_ne!(logits("relu", Some(to_silu(&[first])))?, own, "{name}");
    }
    Ok(())
}

#[test]
fn a_network_on_frozen_parameters_builds_no_graph() -> Result<()> {
    for entry in distinct() {
        let (store, model) = build(&spec(entry, "mish"))?;
        let frozen = create(&spec(entry, "mish"), store.frozen().var_builder())
            .map_err(candle_core::Error::wrap)?;
        let x = images(entry, 2)?;
        let (tracked, detached) = (model.forward_t(&x, false)?, frozen.forward_t(&x, false)?);
        assert!(tracked.track_op() && !detached.track_op(), "{}", entry.name);
        assert_eq!(
            tracked.to_vec2::<f32>()?,
            detached.to_vec2::<f32>()?,
            "{}",
            entry.name
        );
    }
    Ok(())
}

#[test]
fn wrong_images_give_a_clear_error() -> Result<()> {
    for entry in distinct() {
        let (_, model) = build(&spec(entry, "mish"))?;
        let (c, h, w) = entry.cifar.input;
        let gray = Tensor::zeros((1, c + 1, h, w), DType::F32, &Device::Cpu)?;
        let error = model.forward_t(&gray, false).expect_err("another channel");
        assert!(error.to_string().contains("channels"), "{error}");
        let flat = Tensor::zeros((c, h, w), DType::F32, &Device::Cpu)?;
        assert!(model.forward_t(&flat, false).is_err());
    }
    Ok(())
}

/// Checks that an image of this size gives logits, or an error that names its size.
fn assert_explained(entry: &Entry, model: &dyn Model, size: usize) -> Result<()> {
    let tiny = Tensor::zeros((1, 3, size, size), DType::F32, &Device::Cpu)?;
    match model.forward_t(&tiny, false) {
        Ok(logits) => assert_eq!(logits.dims(), [1, 100], "{}", entry.name),
        Err(error) => {
            let error = error.to_string();
            let reasons = ["small", "larger", "images only"];
            let explained = reasons.iter().any(|reason| error.contains(reason));
            assert!(explained, "{} at {size}: {error}", entry.name);
        }
    }
    Ok(())
}

#[test]
fn images_that_are_too_small_give_a_clear_error_or_logits() -> Result<()> {
    for entry in distinct() {
        let (_, model) = build(&spec(entry, "mish"))?;
        for size in [1, 2, 5] {
            assert_explained(entry, &*model, size)?;
        }
    }
    Ok(())
}

#[test]
fn a_new_classifier_leaves_the_features_as_they_are() -> Result<()> {
    for entry in distinct() {
        let (store, mut model) = build(&spec(entry, "mish"))?;
        let x = images(entry, 2)?;
        let features = model.features(&x, Mode::Eval)?.to_vec2::<f32>()?;
        let others = store.params().len();
        reset_classifier(&mut *model, 7, &store)?;
        let name = entry.name;
        assert_eq!(model.forward_t(&x, false)?.dims(), [2, 7], "{name}");
        assert_eq!(
            model.features(&x, Mode::Eval)?.to_vec2::<f32>()?,
            features,
            "{name}"
        );
        assert_eq!(store.params().len(), others, "{name}");
        assert!(reset_classifier(&mut *model, 0, &store).is_err(), "{name}");
    }
    Ok(())
}

/// The initial weights of a classifier depend on the seed and its shape only.
#[test]
fn a_reset_classifier_starts_as_a_new_one() -> Result<()> {
    for entry in entries() {
        let (store, mut model) = build(&spec(entry, "mish"))?;
        let path = format!("{}.", model.classifier());
        let values = || -> Result<BTreeMap<String, Vec<f32>>> {
            let params = store.params().into_iter();
            params
                .filter(|(name, _)| name.starts_with(&path))
                .map(|(name, var)| Ok((name, var.flatten_all()?.to_vec1()?)))
                .collect()
        };
        let built = values()?;
        assert!(!built.is_empty(), "{}", entry.name);
        for num_classes in [3, 100] {
            reset_classifier(&mut *model, num_classes, &store)?;
        }
        assert_eq!(values()?, built, "{}", entry.name);
    }
    Ok(())
}

/// Prefixes of the names of networks without residual sums.
const WITHOUT_RESIDUALS: [&str; 15] = [
    "airbench",
    "capsnet",
    "cnn",
    "conv",
    "densenet",
    "inception_v3",
    "lenet4",
    "minivgg",
    "mlp",
    "mobilenetv1",
    "peleenet",
    "shufflenet_v2",
    "simplenet",
    "squeezenet",
    "vgg",
];

#[test]
fn stochastic_depth_skips_blocks_in_training_only() -> Result<()> {
    for entry in distinct() {
        let spec = ModelSpec {
            drop_path_rate: 0.5,
            ..spec(entry, "relu")
        };
        let (store, model) = build(&spec)?;
        wake_branches(&store)?;
        let x = images(entry, 8)?;
        let out = |train| -> Result<Vec<Vec<f32>>> { model.forward_t(&x, train)?.to_vec2() };
        assert_eq!(out(false)?, out(false)?, "{}", entry.name);
        let random = out(true)? != out(true)?;
        let residual = !WITHOUT_RESIDUALS
            .iter()
            .any(|name| entry.name.starts_with(name));
        assert_eq!(random, residual, "{}", entry.name);
    }
    Ok(())
}

/// The last norm of every residual branch starts at zero, as in timm.
#[test]
fn residual_branches_start_at_zero_where_those_of_timm_do() -> Result<()> {
    for (name, last, count) in [
        ("resnet18", "bn2.weight", 8),
        ("resnet50", "bn3.weight", 16),
        ("seresnet50", "bn3.weight", 16),
        ("darknet53", "conv2.bn.weight", 23),
        ("cspdarknet53", "conv2.bn.weight", 23),
        ("cspresnext50", "conv3.bn.weight", 13),
        ("resnet20", "", 0),
        ("mobilenetv2_100", "", 0),
    ] {
        let (store, _) = build(&ModelSpec::new(name))?;
        let mut zero = Vec::new();
        for (key, var) in store.params() {
            if key.ends_with("weight") && var.abs()?.sum_all()?.to_scalar::<f32>()? == 0.0 {
                zero.push(key);
            }
        }
        assert_eq!(zero.len(), count, "{name}: {zero:?}");
        assert!(
            zero.iter().all(|key| key.ends_with(last)),
            "{name}: {zero:?}"
        );
    }
    Ok(())
}

#[test]
fn wrong_names_and_options_are_explained() {
    let message = |name: &str| match find(name) {
        Err(error) => error.to_string(),
        Ok(entry) => panic!("{name} found {}", entry.name),
    };
    assert_eq!(
        message("resnet_20"),
        "unknown model 'resnet_20'; did you mean 'resnet20'?"
    );
    assert_eq!(message("zzz"), "unknown model 'zzz'");
    assert_eq!(
        message("resnet18.a1_in1k"),
        "resnet18.a1_in1k names a network and its weights; give the network resnet18, and a1_in1k as pretrained"
    );
    let bad = ModelSpec {
        drop_rate: 1.5,
        ..ModelSpec::new("resnet20")
    };
    let vb = ParamStore::new(DType::F32, &Device::Cpu, 0).var_builder();
    assert!(matches!(create(&bad, vb), Err(ModelError::Option(_))));
}

#[test]
fn networks_of_any_depth_and_width_can_be_named() -> Result<()> {
    for (name, params) in [
        ("mlp_1x7", 22_318),
        ("mlp_25x300", 3_126_700),
        ("conv2_mlp_1x7", 77_784),
        ("conv4_mlp_3x10", 89_938),
    ] {
        let entry = find(name).map_err(candle_core::Error::wrap)?;
        assert_eq!((entry.name, entry.family), (name, "plain"));
        assert_eq!(entry.cifar.params, params, "{name}");
        let (store, model) = build(&spec(entry, "mish"))?;
        assert_eq!(store.num_params(), params, "{name}");
        let logits = model.forward_t(&images(entry, 2)?, false)?;
        assert_eq!(logits.dims(), [2, 100], "{name}");
    }
    for name in [
        "mlp",
        "mlp_0x7",
        "mlp_7x0",
        "mlp_07x7",
        "mlp_7x",
        "mlp_7x7x7",
        "mlp_1x10001",
        "conv2_mlp_0x7",
        "conv4_mlp_7x",
        "conv3_mlp_1x7",
    ] {
        assert!(find(name).is_err(), "{name}");
    }
    for name in ["mlp_1000x10000", "mlp_11x10000", "conv4_mlp_12x10000"] {
        let error = find(name).expect_err("too large").to_string();
        assert!(error.contains("parameters"), "{name}: {error}");
    }
    Ok(())
}

#[test]
fn patterns_select_names() {
    let names = |pattern| list(pattern).iter().map(|e| e.name).collect::<Vec<_>>();
    assert_eq!(names("resnet20"), ["resnet20"]);
    assert_eq!(names("resnet?4"), ["resnet34", "resnet44"]);
    assert_eq!(names("*_20"), ["resnetv2_20"]);
    // With wildcards the whole name, else any part of a name or family.
    assert!(
        names("resnet*")
            .iter()
            .all(|name| name.starts_with("resnet"))
    );
    assert_eq!(names("et56"), ["resnet56"]);
    assert_eq!(names("inception"), ["inception_v3", "inception_resnet_v2"]);
    assert!(names("wide_resnet").contains(&"wrn16_4"));
    assert_eq!(names("20*res"), [""; 0]);
    assert_eq!(names("resnet20*0"), [""; 0]);
    // Many asterisks do not slow the search down.
    let (stars, letters) = ("*".repeat(200) + "_20", "*e".repeat(200) + "x");
    assert_eq!(names(&stars), ["resnetv2_20"]);
    assert!(names(&letters).is_empty());
    assert_eq!(names("*").len(), entries().count());
    assert!(names("none*").is_empty());
}

#[test]
fn dropout_and_other_channels_are_honoured() -> Result<()> {
    for entry in distinct() {
        let (_, h, w) = entry.cifar.input;
        let spec = ModelSpec {
            in_chans: 1,
            drop_rate: 0.5,
            ..spec(entry, "relu")
        };
        let (_, model) = build(&spec)?;
        let gray = rule::images((4, 1, h, w))?;
        let out = |train| -> Result<Vec<Vec<f32>>> { model.forward_t(&gray, train)?.to_vec2() };
        assert_eq!(out(false)?, out(false)?, "{}", entry.name);
        assert_ne!(out(true)?, out(true)?, "{}", entry.name);
    }
    Ok(())
}
