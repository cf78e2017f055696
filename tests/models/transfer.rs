//! Weights of other programs: which tensors are loaded, and what is reported about the rest.

use std::collections::HashMap;

use candle_core::{DType, Device, IndexOp, Result, Tensor};
use candle_mish::nn::ParamStore;
use candle_mish_models::transfer::{Transfer, adapt_input_conv, load};
use candle_mish_models::tuning::HeadOnly;
use candle_mish_models::{Entry, Model, ModelSpec, create, find};
use candle_nn::ModuleT;

use crate::rule;

type Weights = HashMap<String, Tensor>;
/// A key in another program's style.
type Style<'a> = &'a dyn Fn(&str) -> String;

fn network(spec: &ModelSpec) -> Result<(ParamStore, Box<dyn Model>)> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    let model = create(spec, store.var_builder()).map_err(candle_core::Error::wrap)?;
    Ok((store, model))
}

/// Weights of a network, all different from the initial ones.
fn weights(spec: &ModelSpec) -> Result<Weights> {
    let (store, _) = network(spec)?;
    let drawn = store.tensors().into_iter().map(|(name, tensor)| {
        let values = rule::tensor(&name, tensor.shape(), 1.0)?;
        Ok((name, values.to_dtype(tensor.dtype())?))
    });
    drawn.collect()
}

fn transfer(spec: &ModelSpec, weights: &Weights) -> Result<(ParamStore, Transfer)> {
    let (store, model) = network(spec)?;
    let entry = find(&spec.model).map_err(candle_core::Error::wrap)?;
    let transfer = load(&*model, entry, &store, weights)?;
    Ok((store, transfer))
}

fn entry(name: &str) -> Result<&'static Entry> {
    find(name).map_err(candle_core::Error::wrap)
}

/// The CRC-32 of a line "NAME LAYER" for each parameter, sorted.
fn crc32(layers: &HashMap<String, usize>) -> u32 {
    let mut lines: Vec<String> = layers.iter().map(|(n, l)| format!("{n} {l}\n")).collect();
    lines.sort();
    let mut crc = flate2::Crc::new();
    crc.update(lines.concat().as_bytes());
    crc.sum()
}

fn assert_loaded(store: &ParamStore, weights: &Weights, except: &str) -> Result<()> {
    for (name, tensor) in store.tensors() {
        if except.is_empty() || !name.starts_with(except) {
            let want = weights[&name].to_dtype(DType::F32)?.flatten_all()?;
            let got = tensor.to_dtype(DType::F32)?.flatten_all()?;
            assert_eq!(got.to_vec1::<f32>()?, want.to_vec1::<f32>()?, "{name}");
        }
    }
    Ok(())
}

/// The same tensors under other keys.
fn under(weights: &Weights, rename: impl Fn(&str) -> String) -> Weights {
    let pairs = weights.iter();
    pairs
        .map(|(key, tensor)| (rename(key), tensor.clone()))
        .collect()
}

#[test]
fn any_prefix_is_found() -> Result<()> {
    let own = weights(&ModelSpec::new("resnet20"))?;
    for prefix in [
        "",
        "module.",
        "model.",
        "_orig_mod.",
        "module._orig_mod.",
        "backbone.",
        "net.",
        "encoder_q.",
        "model.module.",
        "a.b.c.d.",
        // Names of the network's own modules.
        "layer1.",
        "layer1.0.conv1.",
    ] {
        let wrapped = under(&own, |key| format!("{prefix}{key}"));
        let (store, transfer) = transfer(&ModelSpec::new("resnet20"), &wrapped)?;
        assert!(transfer.is_complete() && !transfer.fresh_classifier);
        assert_eq!(transfer.prefix, prefix);
        assert!(transfer.other_prefixes.is_empty() && transfer.passed_over.is_empty());
        assert_loaded(&store, &own, "")?;
    }
    Ok(())
}

#[test]
fn tensors_without_the_prefix_are_passed_over_and_listed() -> Result<()> {
    let own = weights(&ModelSpec::new("resnet20"))?;
    let mut wrapped = under(&own, |key| format!("module.encoder_q.{key}"));
    // A second head, and tensors of a training framework.
    let extra = Tensor::ones((3, 4), DType::F32, &Device::Cpu)?;
    let others = [
        "module.encoder_k.fc.weight",
        "module.queue",
        "criterion.weight",
    ];
    wrapped.extend(others.map(|name| (name.to_string(), extra.clone())));
    let (store, found) = transfer(&ModelSpec::new("resnet20"), &wrapped)?;
    assert!(found.is_complete(), "{found}");
    assert_eq!(found.prefix, "module.encoder_q.");
    let mut listed = found.passed_over.clone();
    listed.sort();
    let mut expected = others.map(String::from);
    expected.sort();
    assert_eq!(listed, expected);
    assert!(
        found.to_string().contains("ignored 3 other tensors"),
        "{found}"
    );
    assert_loaded(&store, &own, "")?;
    // A part without the network's layers does not decide the prefix, and its layers are not loaded.
    let some = own.iter().filter(|(key, _)| key.starts_with("layer1."));
    wrapped.extend(some.map(|(key, _)| (format!("teacher.{key}"), extra.clone())));
    let (store, found) = transfer(&ModelSpec::new("resnet20"), &wrapped)?;
    assert_eq!(found.prefix, "module.encoder_q.");
    assert_loaded(&store, &own, "")
}

#[test]
fn equally_good_prefixes_are_reported() -> Result<()> {
    let own = weights(&ModelSpec::new("resnet20"))?;
    let other = under(&own, |key| format!("encoder_k.{key}"));
    let other = other
        .into_iter()
        .map(|(key, value)| Ok((key, value.zeros_like()?)));
    let mut both = other.collect::<Result<Weights>>()?;
    both.extend(under(&own, |key| format!("encoder_q.{key}")));
    let (store, transfer) = transfer(&ModelSpec::new("resnet20"), &both)?;
    assert_eq!(transfer.prefix, "encoder_q.");
    assert_eq!(transfer.other_prefixes, ["encoder_k."]);
    assert!(transfer.to_string().contains("'encoder_k.'"), "{transfer}");
    assert_loaded(&store, &own, "")
}

#[test]
fn counters_and_queues_of_training_tools_are_passed_over() -> Result<()> {
    let own = weights(&ModelSpec::new("resnet20"))?;
    let mut with_counters = own.clone();
    let number = Tensor::ones(1, DType::F64, &Device::Cpu)?;
    for (name, tensor) in [
        ("total_ops", number.clone()),
        ("layer1.0.conv1.total_params", number.clone()),
        ("queue", Tensor::ones((16, 64), DType::F32, &Device::Cpu)?),
        ("queue_ptr", number.to_dtype(DType::I64)?),
        ("n_averaged", Tensor::new(5i64, &Device::Cpu)?),
        ("temperature", Tensor::new(0.1f32, &Device::Cpu)?),
    ] {
        with_counters.insert(name.to_string(), tensor);
    }
    let (store, transfer) = transfer(&ModelSpec::new("resnet20"), &with_counters)?;
    assert!(transfer.is_complete(), "{transfer}");
    assert_eq!(transfer.passed_over.len(), 6, "{transfer:?}");
    assert_loaded(&store, &own, "")
}

#[test]
fn values_of_every_floating_point_type_are_loaded() -> Result<()> {
    let own = weights(&ModelSpec::new("resnet20"))?;
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let typed = own.iter().map(|(name, tensor)| {
            let dtype = if tensor.dtype().is_float() {
                dtype
            } else {
                tensor.dtype()
            };
            Ok((name.clone(), tensor.to_dtype(dtype)?))
        });
        let typed = typed.collect::<Result<Weights>>()?;
        let gray = ModelSpec {
            in_chans: 1,
            ..ModelSpec::new("resnet20")
        };
        for spec in [ModelSpec::new("resnet20"), gray] {
            let (store, transfer) = transfer(&spec, &typed)?;
            assert!(
                transfer.is_complete() && !transfer.fresh_classifier,
                "{dtype:?}"
            );
            assert!(
                store
                    .params()
                    .iter()
                    .all(|(_, var)| var.dtype() == DType::F32)
            );
            assert_loaded(&store, &typed, "conv1.")?;
        }
    }
    Ok(())
}

#[test]
fn everything_that_does_not_fit_is_listed() -> Result<()> {
    let mut own = weights(&ModelSpec::new("resnet20"))?;
    own.retain(|key, _| !key.ends_with("num_batches_tracked"));
    let (_, counters) = transfer(&ModelSpec::new("resnet20"), &own)?;
    assert!(counters.is_complete(), "{counters}");
    assert_eq!(counters.to_string(), "every tensor matches");
    own.remove("bn1.weight");
    let odd = Tensor::zeros((16, 16, 5, 5), DType::F32, &Device::Cpu)?;
    own.insert("layer1.0.conv1.weight".into(), odd.clone());
    own.insert("extra.weight".into(), odd);
    let (_, transfer) = transfer(&ModelSpec::new("resnet20"), &own)?;
    assert_eq!(transfer.report.missing, ["bn1.weight"]);
    assert_eq!(transfer.report.unexpected, ["extra.weight"]);
    assert_eq!(transfer.report.mismatched[0].0, "layer1.0.conv1.weight");
    let told = transfer.to_string();
    for part in [
        "bn1.weight",
        "extra.weight",
        "is [16, 16, 5, 5], must be [16, 16, 3, 3]",
    ] {
        assert!(told.contains(part), "{told}");
    }
    Ok(())
}

#[test]
fn a_classifier_of_other_classes_stays_fresh_and_is_told() -> Result<()> {
    for name in ["resnet20", "squeezenet1_1"] {
        let own = weights(&ModelSpec::new(name))?;
        let ten = ModelSpec {
            num_classes: 10,
            ..ModelSpec::new(name)
        };
        let (fresh, model) = network(&ten)?;
        let (store, transfer) = transfer(&ten, &own)?;
        assert!(transfer.is_complete() && transfer.fresh_classifier);
        assert_eq!(transfer.classes, Some(100));
        assert!(
            transfer
                .to_string()
                .contains("the weights have 100 classes")
        );
        assert_loaded(&store, &own, model.classifier())?;
        let fresh: Weights = fresh.tensors().into_iter().collect();
        for (key, tensor) in store.tensors() {
            if key.starts_with(model.classifier()) {
                let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
                assert_eq!(values(&tensor)?, values(&fresh[&key])?, "{key}");
            }
        }
        let headless = own.into_iter();
        let headless = headless.filter(|(key, _)| !key.starts_with(model.classifier()));
        let (_, transfer) = self::transfer(&ten, &headless.collect())?;
        assert!(transfer.is_complete() && transfer.fresh_classifier);
        assert!(transfer.to_string().contains("the weights have none"));
    }
    Ok(())
}

/// timm's `adapt_input_conv`: the sum for one channel, else repeated and scaled by 3 / channels.
#[test]
fn the_first_convolution_is_adapted_to_other_channels() -> Result<()> {
    let own = weights(&ModelSpec::new("resnet20"))?;
    let old = &own["conv1.weight"];
    for channels in [1, 2, 4, 6, 7] {
        let spec = ModelSpec {
            in_chans: channels,
            ..ModelSpec::new("resnet20")
        };
        let (store, transfer) = transfer(&spec, &own)?;
        assert!(transfer.is_complete(), "{transfer}");
        assert_eq!(transfer.adapted, Some(("conv1.weight".into(), 3, channels)));
        let adapted: Weights = store.tensors().into_iter().collect();
        let adapted = &adapted["conv1.weight"];
        assert_eq!(adapted.dims(), [16, channels, 3, 3]);
        for channel in 0..channels {
            let want = match channels {
                1 => old.sum(1)?,
                _ => (old.i((.., channel % 3))? * (3.0 / channels as f64))?,
            };
            let error = (adapted.i((.., channel))? - want)?.abs()?.flatten_all()?;
            assert!(error.max(0)?.to_scalar::<f32>()? < 1e-6, "{channels}");
        }
    }
    // Half-precision values are summed in f32.
    let half = adapt_input_conv(&old.to_dtype(DType::F16)?, 1)?;
    let exact = old
        .to_dtype(DType::F16)?
        .to_dtype(DType::F32)?
        .sum_keepdim(1)?;
    let exact = exact.to_dtype(DType::F16)?;
    assert_eq!(half.dtype(), DType::F16);
    let bits = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    assert_eq!(bits(&half)?, bits(&exact)?);
    Ok(())
}

#[test]
fn other_key_styles_are_understood() -> Result<()> {
    let layers = |key: &str, number: usize| {
        key.replace(&format!(".norm{number}."), &format!(".norm.{number}."))
            .replace(&format!(".conv{number}."), &format!(".conv.{number}."))
    };
    let legacy_densenet = |key: &str| layers(&layers(key, 1), 2);
    let legacy_se = |key: &str| match key.split_once('.') {
        Some(("conv1" | "bn1", _)) => format!("layer0.{key}"),
        _ => key
            .replace(".se.", ".se_module.")
            .replace("fc.", "last_linear."),
    };
    let efficient_densenet = |key: &str| key.replace("norm5", "norm_final");
    let last_linear = |key: &str| match key.rsplit_once('.') {
        Some(("fc" | "classifier", last)) => format!("last_linear.{last}"),
        _ => key.to_string(),
    };
    let mmpretrain = |key: &str| match key.strip_prefix("fc.") {
        Some(last) => format!("head.fc.{last}"),
        None => format!("backbone.{key}"),
    };
    let wrapped_features = |key: &str| {
        let key = key.replace("features.", "features.module.");
        key.replace("head.fc.", "classifier.")
    };
    let cases: [(&str, &str, Style); 8] = [
        ("densenet_bc100_12", "torchvision", &legacy_densenet),
        ("densenet_bc100_12", "gpleiss", &efficient_densenet),
        ("densenet_bc100_12", "pretrainedmodels", &last_linear),
        ("seresnet18", "pretrainedmodels", &legacy_se),
        ("resnet18", "pretrainedmodels", &last_linear),
        ("inception_v3", "pretrainedmodels", &last_linear),
        ("resnet20", "mmpretrain", &mmpretrain),
        ("vgg11_bn", "kuangliu", &wrapped_features),
    ];
    for (name, program, style) in cases {
        let own = weights(&ModelSpec::new(name))?;
        let other = under(&own, style);
        assert!(other.keys().any(|key| !own.contains_key(key)), "{name}");
        let (store, transfer) = transfer(&ModelSpec::new(name), &other)?;
        assert!(transfer.is_complete(), "{name}: {transfer}");
        assert!(!transfer.fresh_classifier && transfer.renamed > 0);
        let found = transfer.style.expect("a style");
        assert!(found.contains(program), "{name}: {found}");
        assert!(transfer.to_string().contains(found), "{transfer}");
        assert_loaded(&store, &own, "")?;
        // Under a prefix as well.
        let wrapped = under(&other, |key| format!("module.{key}"));
        let (store, wrapped) = self::transfer(&ModelSpec::new(name), &wrapped)?;
        assert!(
            wrapped.is_complete() && wrapped.prefix == "module.",
            "{wrapped}"
        );
        assert_loaded(&store, &own, "")?;
    }
    Ok(())
}

#[test]
fn auxiliary_parts_are_ignored() -> Result<()> {
    let own = weights(&ModelSpec::new("inception_v3"))?;
    let mut other = own.clone();
    let extra = Tensor::ones(3, DType::F32, &Device::Cpu)?;
    other.insert("AuxLogits.fc.weight".into(), extra);
    let (store, transfer) = transfer(&ModelSpec::new("inception_v3"), &other)?;
    assert!(
        transfer.is_complete() && transfer.ignored == 1,
        "{transfer}"
    );
    assert_loaded(&store, &own, "")
}

#[test]
fn layers_are_counted_from_the_images_to_the_classifier() -> Result<()> {
    let (store, _) = network(&ModelSpec::new("resnet20"))?;
    let found = entry("resnet20")?.layer_groups(&store);
    assert_eq!(found.len(), store.params().len());
    let expected = [
        ("conv1.weight", 0),
        ("bn1.bias", 0),
        ("layer1.0.conv1.weight", 1),
        ("layer1.2.bn2.weight", 3),
        ("layer2.0.conv1.weight", 4),
        ("layer3.2.conv2.weight", 9),
        ("fc.weight", 10),
    ];
    for (name, layer) in expected {
        assert_eq!(found[name], layer, "{name}");
    }
    for entry in candle_mish_models::entries().filter(|e| e.cifar.multiply_adds < 600_000_000) {
        let (store, model) = network(&ModelSpec::new(entry.name))?;
        let found = entry.layer_groups(&store);
        let highest = found.values().copied().max().unwrap_or(0);
        assert!(highest > 0, "{}", entry.name);
        // No layer is empty, and the classifier is the highest.
        for layer in 0..=highest {
            assert!(
                found.values().any(|l| *l == layer),
                "{} {layer}",
                entry.name
            );
        }
        for (name, _) in store.params() {
            let head = name.starts_with(&format!("{}.", model.classifier()));
            assert!(!head || found[&name] == highest, "{} {name}", entry.name);
        }
    }
    Ok(())
}

/// tests/reference/layer_groups.py
#[test]
fn layers_are_those_of_timm() -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Reference {
        cases: HashMap<String, Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        layers: usize,
        crc32: u32,
    }
    let reference = include_str!("../reference/layer_groups.json");
    let reference: Reference = serde_json::from_str(reference).expect("the reference");
    assert_eq!(reference.cases.len(), 38);
    for (name, case) in reference.cases {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        let model = create(&ModelSpec::imagenet(&name), store.var_builder());
        model.map_err(candle_core::Error::wrap)?;
        let found = entry(&name)?.layer_groups(&store);
        let highest = found.values().copied().max().unwrap_or(0);
        assert_eq!(highest + 1, case.layers, "{name}");
        assert_eq!(crc32(&found), case.crc32, "{name}");
    }
    Ok(())
}

/// The number of layers of networks that timm lacks, and their CRC-32 as in
/// tests/reference/layer_groups.py.
const OWN_LAYERS: [(&str, usize, u32); 39] = [
    ("resnet20", 11, 3_697_514_101),
    ("resnet32", 17, 1_750_953_203),
    ("resnet44", 23, 1_132_300_444),
    ("resnet56", 29, 2_959_261_743),
    ("resnet110", 56, 2_371_915_566),
    ("resnet164", 83, 797_884_955),
    ("resnetv2_20", 8, 1_516_227_471),
    ("resnetv2_56", 20, 699_004_019),
    ("resnetv2_110", 38, 1_062_530_222),
    ("resnetv2_164", 56, 3_455_307_373),
    ("resnetv2_245", 83, 147_236_110),
    ("wrn10_2", 5, 53_204_711),
    ("wrn16_4", 8, 1_675_706_227),
    ("wrn22_10", 11, 105_048_333),
    ("wrn28_10", 14, 2_251_099_074),
    ("wrn40_4", 20, 1_114_623_428),
    ("densenet_bc100_12", 50, 3_500_956_868),
    ("shufflenet_v1_x1_0", 18, 1_861_125_828),
    ("shufflenet_v2_x1_0", 18, 274_090_940),
    ("squeezenet1_0", 10, 2_312_825_623),
    ("squeezenet1_1", 10, 2_343_217_954),
    ("peleenet", 23, 3_549_072_651),
    ("simplenet", 27, 418_908_088),
    ("capsnet", 3, 1_910_538_343),
    ("capsnet_reconstruction", 3, 4_195_032_955),
    ("resnet9", 5, 1_569_719_605),
    ("airbench94", 5, 2_677_373_929),
    ("airbench95", 5, 2_677_373_929),
    ("speedrun75", 5, 2_999_598_228),
    ("cnn6", 13, 3_350_932_010),
    ("mlp_5x500", 2, 1_438_824_229),
    ("mlp_15x500", 2, 3_166_216_432),
    ("lenet4", 4, 3_565_628_215),
    ("minivgg", 6, 1_076_375_691),
    ("cnn4", 4, 3_565_628_215),
    ("conv2_mlp_2x500", 4, 92_691_555),
    ("conv2_mlp_12x500", 4, 2_539_147_880),
    ("conv4_mlp_1x512", 6, 1_845_846_386),
    ("squeezenet_bn", 10, 1_189_852_345),
];

#[test]
fn layers_of_other_networks_stay() -> Result<()> {
    for (name, count, crc) in OWN_LAYERS {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        let model = create(&ModelSpec::new(name), store.var_builder());
        model.map_err(candle_core::Error::wrap)?;
        let found = entry(name)?.layer_groups(&store);
        let highest = found.values().copied().max().unwrap_or(0);
        assert_eq!((highest + 1, crc32(&found)), (count, crc), "{name}");
    }
    Ok(())
}

#[test]
fn a_head_alone_learns_on_the_features_of_evaluation() -> Result<()> {
    let (store, model) = network(&ModelSpec::new("resnet20"))?;
    let built = create(
        &ModelSpec::new("resnet20"),
        store.frozen_except(model.classifier()).var_builder(),
    );
    let head_only = HeadOnly(built.map_err(candle_core::Error::wrap)?);
    let images = rule::images((2, 3, 32, 32))?;
    let before: Weights = store.tensors().into_iter().collect();
    let logits = head_only.forward_t(&images, true)?;
    let evaluated = model.forward_t(&images, false)?;
    let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
    assert_eq!(values(&logits)?, values(&evaluated)?);
    let gradients = logits.sqr()?.sum_all()?.backward()?;
    for (name, var) in store.params() {
        let learns = gradients.get(var.as_tensor()).is_some();
        assert_eq!(learns, name.starts_with("fc."), "{name}");
    }
    for (name, tensor) in store.tensors() {
        let same = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        assert_eq!(same(&tensor)?, same(&before[&name])?, "{name}");
    }
    Ok(())
}

#[test]
fn the_classes_of_capsules_are_found_on_their_axis() -> Result<()> {
    for name in ["capsnet", "capsnet_reconstruction"] {
        let spec = |num_classes| ModelSpec {
            num_classes,
            ..ModelSpec::new(name)
        };
        let weights = weights(&spec(7))?;
        let (_, transfer) = transfer(&spec(1), &weights)?;
        assert_eq!(transfer.classes, Some(7), "{name}");
    }
    Ok(())
}
