//! Networks rebuilt from files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_mish::activation::Activation;
use candle_mish::checkpoint;
use candle_mish::nn::ParamStore;
use candle_mish_models::weights::Weights;
use candle_mish_models::{
    BuildContext, LoadError, Model, ModelArgs, ModelSpec, Stem, create, from_file, from_file_with,
};

use crate::rule;

fn network(spec: &ModelSpec) -> (ParamStore, Box<dyn Model>) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 3);
    let model = create(spec, store.var_builder()).expect("a network");
    (store, model)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.flatten_all().expect("flat");
    flat.to_vec1().expect("values")
}

/// The tensors without a header of ours.
fn save_bare(path: &Path, store: &ParamStore) {
    let tensors: HashMap<String, Tensor> = store.tensors().into_iter().collect();
    candle_core::safetensors::save(&tensors, path).expect("saved");
}

fn silu() -> ModelSpec {
    ModelSpec {
        activation: Activation::Silu,
        num_classes: 7,
        in_chans: 1,
        gate: Some(Activation::HardSigmoid),
        ..ModelSpec::new("resnet20")
    }
}

#[test]
fn a_header_gives_back_what_was_written() {
    let spec = silu();
    let metadata = spec.to_metadata();
    let expected = [
        ("activation", "silu"),
        ("gate", "hard_sigmoid"),
        ("in_chans", "1"),
        ("model", "resnet20"),
        ("num_classes", "7"),
        ("stem", "cifar"),
    ];
    let expected: BTreeMap<String, String> = expected
        .into_iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    assert_eq!(metadata, expected);
    assert_eq!(ModelSpec::from_metadata(&metadata), Ok(spec.clone()));
    // Headers of the first versions have no `in_chans`.
    let mut old = metadata.clone();
    old.remove("in_chans");
    let read = ModelSpec::from_metadata(&old).expect("a header");
    assert_eq!(
        read,
        ModelSpec {
            in_chans: 3,
            ..spec
        }
    );
    for key in ["model", "activation", "num_classes", "stem"] {
        let mut lacking = metadata.clone();
        lacking.remove(key);
        let error = ModelSpec::from_metadata(&lacking).expect_err("lacking");
        assert_eq!(error.key, key);
    }
    let mut wrong = metadata;
    wrong.insert("stem".into(), "large".into());
    let error = ModelSpec::from_metadata(&wrong).expect_err("a wrong value");
    assert!(error.to_string().contains("large"), "{error}");
}

#[test]
fn arguments_override_and_complete_each_other() {
    let given = ModelArgs {
        num_classes: Some(5),
        ..ModelArgs::named("resnet32")
    };
    let file = ModelArgs {
        stem: Some(Stem::ImageNet),
        ..ModelArgs::named("resnet20")
    };
    let both = given.or(&file);
    assert_eq!(both.model.as_deref(), Some("resnet32"));
    assert_eq!(
        (both.num_classes, both.stem),
        (Some(5), Some(Stem::ImageNet))
    );
    let spec = both.over(ModelSpec::new("resnet18"));
    assert_eq!(
        spec.to_string(),
        "resnet32 with 5 classes, mish and the imagenet stem"
    );
    // Keys of configurations that were written before, and timm's.
    let old: ModelArgs = serde_json::from_str(r#"{"drop": 0.1, "drop_path": 0.2}"#).expect("JSON");
    let new: ModelArgs =
        serde_json::from_str(r#"{"drop_rate": 0.1, "drop_path_rate": 0.2}"#).expect("JSON");
    assert_eq!(old, new);
    assert_eq!(old.drop_path_rate, Some(0.2));
}

#[test]
fn a_checkpoint_of_this_program_is_rebuilt() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("best.safetensors");
    let spec = silu();
    let (store, model) = network(&spec);
    let mut metadata = spec.to_metadata();
    metadata.insert("classes".into(), r#"["a","b","c","d","e","f","g"]"#.into());
    metadata.insert("mean".into(), "[0.5,0.5,0.5]".into());
    metadata.insert("std".into(), "[0.25,0.25,0.25]".into());
    metadata.insert("image_size".into(), "32".into());
    checkpoint::write(&path, &store.tensors(), &metadata).expect("written");
    let loaded = from_file(&path, &Device::Cpu).expect("a network");
    assert_eq!(loaded.spec, spec);
    assert_eq!(loaded.notes, []);
    assert_eq!(loaded.classes.as_ref().map(Vec::len), Some(7));
    #[cfg(feature = "data")]
    {
        let preprocess = loaded.preprocess;
        assert_eq!((preprocess.input_size, preprocess.mean), (32, [0.5; 3]));
    }
    let images = rule::images((2, 1, 32, 32))?;
    let logits = loaded.forward(&images)?;
    assert!(!logits.track_op());
    assert_eq!(values(&logits), values(&model.forward_t(&images, false)?));
    let trainable = loaded.trainable(&BuildContext::default()).expect("a twin");
    assert!(trainable.forward_t(&images, true)?.track_op());
    // The name may be given, another one not.
    let named = from_file_with(&path, &ModelArgs::named("resnet20"), &Device::Cpu);
    assert_eq!(named.expect("a network").spec, spec);
    let other = from_file_with(&path, &ModelArgs::named("resnet32"), &Device::Cpu);
    assert!(matches!(other, Err(LoadError::OtherModel { .. })));
    Ok(())
}

#[test]
fn act_layer_leaves_the_relu_in_the_attention_of_resnets() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    let spec = ModelSpec {
        activation: Activation::Mish,
        layer_activations: "*.se.act=relu".parse().expect("a list of layers"),
        num_classes: 3,
        ..ModelSpec::imagenet("seresnet18")
    };
    let (store, model) = network(&spec);
    save_bare(&path, &store);
    let description = serde_json::json!({
        "architecture": "seresnet18",
        "num_classes": 3,
        "model_args": {"act_layer": "mish"},
    });
    std::fs::write(folder.path().join("config.json"), description.to_string())?;
    let loaded = from_file(&path, &Device::Cpu).expect("a network");
    assert_eq!(loaded.spec, spec);
    let images = rule::images((1, 3, 32, 32))?;
    let want = model.forward_t(&images, false)?;
    assert_eq!(values(&loaded.forward(&images)?), values(&want));
    Ok(())
}

#[test]
fn a_folder_of_timm_is_rebuilt() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    let spec = ModelSpec {
        activation: Activation::Relu6,
        num_classes: 3,
        ..ModelSpec::imagenet("mobilenetv2_100")
    };
    let (store, model) = network(&spec);
    save_bare(&path, &store);
    let description = serde_json::json!({
        "architecture": "mobilenetv2_100",
        "num_classes": 3,
        "label_names": ["ape", "bee", "cat"],
        "pretrained_cfg": {
            "input_size": [3, 160, 160],
            "crop_pct": 0.9,
            "interpolation": "bilinear",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    });
    std::fs::write(folder.path().join("config.json"), description.to_string())?;
    let loaded = from_file(&path, &Device::Cpu).expect("a network");
    assert_eq!(loaded.spec, spec);
    assert_eq!(loaded.notes, []);
    assert_eq!(
        loaded.classes.as_deref(),
        Some(&["ape", "bee", "cat"].map(String::from)[..])
    );
    #[cfg(feature = "data")]
    {
        let preprocess = loaded.preprocess;
        assert_eq!((preprocess.input_size, preprocess.crop_pct), (160, 0.9));
    }
    let images = rule::images((1, 3, 64, 64))?;
    let want = model.forward_t(&images, false)?;
    assert_eq!(values(&loaded.forward(&images)?), values(&want));
    // A config.json of another program is ignored, a damaged one is not.
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"hidden_size": 768}"#)?;
    assert!(matches!(
        from_file(&path, &Device::Cpu),
        Err(LoadError::Unnamed { .. })
    ));
    std::fs::write(&config, "{")?;
    assert!(matches!(
        from_file(&path, &Device::Cpu),
        Err(LoadError::Description { .. })
    ));
    Ok(())
}

#[test]
fn assumptions_about_a_file_without_a_header_are_notes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    let spec = ModelSpec {
        activation: Activation::Relu6,
        num_classes: 11,
        ..ModelSpec::imagenet("mobilenetv2_100")
    };
    let (store, _) = network(&spec);
    save_bare(&path, &store);
    let unnamed = from_file(&path, &Device::Cpu);
    assert!(matches!(unnamed, Err(LoadError::Unnamed { .. })));
    let args = ModelArgs::named("mobilenetv2_100");
    let loaded = from_file_with(&path, &args, &Device::Cpu).expect("a network");
    assert_eq!(loaded.spec, spec);
    let arguments: Vec<&str> = loaded.notes.iter().map(|note| note.arguments[0]).collect();
    let mut expected = vec!["activation", "stem"];
    if cfg!(feature = "data") {
        expected.push("img_size");
    }
    assert_eq!(arguments, expected, "{:?}", loaded.notes);
    let given = ModelArgs {
        activation: Some(Activation::Mish),
        stem: Some(Stem::ImageNet),
        num_classes: Some(11),
        ..args
    };
    let loaded = from_file_with(&path, &given, &Device::Cpu).expect("a network");
    assert_eq!(loaded.spec.activation, Activation::Mish);
    let assumed = |argument| {
        loaded
            .notes
            .iter()
            .any(|note| note.arguments.contains(&argument))
    };
    assert!(!assumed("activation") && !assumed("stem"));
    Ok(())
}

#[test]
fn weights_that_do_not_fit_are_refused_with_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    let spec = ModelSpec::new("resnet20");
    let (store, _) = network(&spec);
    let mut tensors = store.tensors();
    tensors.retain(|(name, _)| name != "layer1.0.conv1.weight");
    checkpoint::write(&path, &tensors, &spec.to_metadata()).expect("written");
    let error = from_file(&path, &Device::Cpu)
        .err()
        .expect("a missing tensor");
    assert!(matches!(error, LoadError::Mismatch { .. }));
    let message = error.to_string();
    assert!(
        message.contains("missing: layer1.0.conv1.weight"),
        "{message}"
    );
    assert!(!message.contains("--"), "{message}");
    // Other classes as well, unless the network is trained further.
    let other = ModelSpec {
        num_classes: 5,
        ..spec.clone()
    };
    checkpoint::write(&path, &store.tensors(), &spec.to_metadata()).expect("written");
    let weights = Weights::read(&path).expect("weights");
    let (fresh, model) = network(&other);
    assert!(weights.load(&*model, &other, &fresh).is_err());
    let (transfer, notes) = weights
        .initialise(&*model, &other, &fresh)
        .expect("a start");
    assert!(transfer.fresh_classifier && notes.len() == 1, "{notes:?}");
    Ok(())
}

#[cfg(feature = "hub")]
#[test]
fn tags_that_no_network_has_are_refused() {
    use candle_mish_models::{Tag, create_pretrained};
    for (name, tag) in [
        ("resnet20", Tag::Default),
        ("resnet50", Tag::Named("a9_in1k".into())),
        ("resnet_50", Tag::Default),
    ] {
        let error = create_pretrained(name, tag, &Device::Cpu)
            .err()
            .expect(name);
        assert!(matches!(error, LoadError::Model(_)), "{error}");
    }
}

#[test]
fn recorded_sizes_that_no_tensor_has_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    let spec = ModelSpec::new("resnet20");
    let (store, _) = network(&spec);
    let too_large = usize::MAX.to_string();
    for (key, value) in [
        ("num_classes", "999999999999"),
        ("num_classes", &too_large),
        ("in_chans", "999999999999"),
        ("in_chans", &too_large),
    ] {
        let mut metadata = spec.to_metadata();
        metadata.insert(key.to_string(), value.to_string());
        checkpoint::write(&path, &store.tensors(), &metadata).expect("written");
        let error = from_file(&path, &Device::Cpu).err().expect("an error");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let (error, cause) = (error.to_string(), cause.unwrap_or_default());
        assert!(error.contains("weights.safetensors"), "{error}");
        assert!(cause.contains(key) && cause.contains(value), "{cause}");
    }
}
