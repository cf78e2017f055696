//! Checkpoints of other programs against the logits of those programs: tests/reference/foreign.py
//! and its results foreign.json.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Module, Result, Shape, Tensor};
use candle_mish::nn::ParamStore;
use candle_mish_models::weights::Weights;
use candle_mish_models::{
    LoadError, Loaded, ModelArgs, ModelSpec, Shortcut, Stem, create, from_file, from_file_with,
};
use serde::Deserialize;

use crate::rule;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// A network of another program.
#[derive(Deserialize)]
struct Case {
    /// The program or repository.
    program: String,
    /// The registry's name.
    model: String,
    activation: String,
    /// The gain of the rule that makes the weights.
    gain: f64,
    /// The shape of the images.
    input: [usize; 4],
    classes: usize,
    /// The first logits of each image.
    logits: Vec<Vec<f64>>,
    /// The Euclidean norm of all logits.
    norm: f64,
    /// The path, kind and shape of each layer.
    layers: Vec<String>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../reference/foreign.json");
    let reference: Reference = serde_json::from_str(text).expect("a stored reference");
    reference.cases
}

fn network(spec: &ModelSpec) -> ParamStore {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 3);
    create(spec, store.var_builder()).expect("a network");
    store
}

fn save(path: &Path, tensors: &HashMap<String, Tensor>) {
    candle_core::safetensors::save(tensors, path).expect("saved");
}

impl Case {
    /// The checkpoint of the program.
    fn tensors(&self) -> Result<HashMap<String, Tensor>> {
        let mut tensors = HashMap::new();
        for layer in &self.layers {
            let parts: Vec<&str> = layer.split(' ').collect();
            let [path, kind, shape] = parts[..] else {
                panic!("a path, a kind and a shape: {layer}");
            };
            let shape: Vec<usize> = shape
                .split('x')
                .map(|size| size.parse().expect("a size"))
                .collect();
            let mut add = |last: &str, dims: &[usize]| -> Result<()> {
                let name = format!("{path}.{last}");
                let tensor = rule::tensor(&name, &Shape::from(dims), self.gain)?;
                tensors.insert(name, tensor);
                Ok(())
            };
            add("weight", &shape)?;
            match kind {
                "conv" => {}
                "conv+bias" | "linear" => add("bias", &shape[..1])?,
                "norm" => {
                    for last in ["bias", "running_mean", "running_var"] {
                        add(last, &shape)?;
                    }
                    let count = Tensor::zeros((), DType::I64, &Device::Cpu)?;
                    tensors.insert(format!("{path}.num_batches_tracked"), count);
                }
                _ => panic!("an unknown kind: {layer}"),
            }
        }
        Ok(tensors)
    }

    fn context(&self) -> String {
        format!("{} of {}", self.model, self.program)
    }

    fn load(&self, tensors: &HashMap<String, Tensor>) -> Loaded {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weights.safetensors");
        save(&path, tensors);
        // This MobileNet v2 has torchvision's keys and the same tensors in both forms.
        let chenyaofo = self.program == "chenyaofo/pytorch-cifar-models";
        let args = ModelArgs {
            stem: chenyaofo.then_some(Stem::Cifar),
            ..ModelArgs::named(&self.model)
        };
        let loaded = from_file_with(&path, &args, &Device::Cpu);
        loaded.unwrap_or_else(|error| panic!("{}: {error}", self.context()))
    }

    fn check_logits(&self, loaded: &Loaded) -> Result<()> {
        let context = self.context();
        let logits = loaded.forward(&rule::images(&self.input)?)?;
        assert_eq!(logits.dims(), [self.input[0], self.classes], "{context}");
        let logits = logits.to_dtype(DType::F64)?;
        let norm = logits.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
        assert!((norm / self.norm - 1.0).abs() < 1e-4, "{context}: {norm}");
        let typical = self.norm / ((self.input[0] * self.classes) as f64).sqrt();
        let rows = logits.to_vec2::<f64>()?;
        assert_eq!(rows.len(), self.logits.len(), "{context}");
        for (got, want) in rows.iter().zip(&self.logits) {
            assert_eq!(want.len(), self.classes.min(5), "{context}");
            for (got, want) in got.iter().zip(want) {
                let error = (got - want).abs() / typical.max(want.abs());
                assert!(error < 1e-4, "{context}: {got} is not {want}");
            }
        }
        Ok(())
    }
}

/// The program of a case whose keys are another one's, or the network's own.
fn style(case: &Case) -> Option<&str> {
    match (&*case.program, &*case.model) {
        ("chenyaofo/pytorch-cifar-models", "mobilenetv2_100") => Some("torchvision"),
        (program, _) => Some(program),
    }
}

#[test]
fn logits_are_those_of_the_program() -> Result<()> {
    for case in cases() {
        let context = case.context();
        let loaded = case.load(&case.tensors()?);
        assert_eq!(
            loaded.spec.activation.to_string(),
            case.activation,
            "{context}"
        );
        assert_eq!(loaded.spec.num_classes, case.classes, "{context}");
        let style = style(&case).expect("a style");
        let found = loaded.transfer.style.unwrap_or("no style");
        assert!(found.contains(style), "{context}: {found}");
        case.check_logits(&loaded)?;
    }
    Ok(())
}

fn case(program: &str, model: &str) -> Vec<Case> {
    let wanted = |case: &Case| case.program == program && case.model == model;
    cases().into_iter().filter(wanted).collect()
}

#[test]
fn shortcuts_without_parameters_are_recognised_by_the_tensors() -> Result<()> {
    let akamaster = case("akamaster/pytorch_resnet_cifar10", "resnet20");
    let [a, b] = &akamaster[..] else {
        panic!("option A and option B");
    };
    let (loaded, with_projections) = (a.load(&a.tensors()?), b.load(&b.tensors()?));
    assert_eq!(loaded.spec.shortcut, Shortcut::A);
    assert_eq!(with_projections.spec.shortcut, Shortcut::B);
    let noted = |loaded: &Loaded| {
        let mut notes = loaded.notes.iter();
        notes.any(|note| note.arguments.contains(&"shortcut"))
    };
    assert!(
        noted(&loaded) && !noted(&with_projections),
        "{:?}",
        loaded.notes
    );
    // The header records it.
    let header = loaded.spec.to_metadata();
    assert_eq!(header.get("shortcut").map(String::as_str), Some("a"));
    assert_eq!(ModelSpec::from_metadata(&header), Ok(loaded.spec.clone()));
    assert!(!with_projections.spec.to_metadata().contains_key("shortcut"));
    Ok(())
}

/// As its files are: below `module.`, in half precision, and with an optimizer's counter.
#[test]
fn wrapped_weights_in_half_precision_keep_their_style() -> Result<()> {
    let [case] = &case("transformers", "resnet18")[..] else {
        panic!("one case");
    };
    let mut tensors = HashMap::new();
    for (name, tensor) in case.tensors()? {
        let dtype = if tensor.dtype().is_float() {
            DType::F16
        } else {
            DType::I64
        };
        tensors.insert(format!("module.{name}"), tensor.to_dtype(dtype)?);
    }
    tensors.insert("step".to_string(), Tensor::new(7i64, &Device::Cpu)?);
    let loaded = case.load(&tensors);
    assert_eq!(loaded.transfer.prefix, "module.");
    assert_eq!(loaded.transfer.style, Some("transformers"));
    assert_eq!(loaded.transfer.passed_over, ["step"]);
    Ok(())
}

/// Keys and shapes of tensors.
type Shapes = &'static [(&'static str, &'static [usize])];

/// Tensors of networks that differ from the registry's: the registry's name, the program, and the
/// tensors that tell them apart.
const REFUSED: [(&str, &str, Shapes); 8] = [
    (
        "efficientnet_b0",
        "lukemelas/EfficientNet-PyTorch",
        &[("_blocks.0._depthwise_conv.weight", &[32, 1, 3, 3])],
    ),
    (
        "densenet121",
        "kuangliu/pytorch-cifar",
        &[
            ("module.dense1.0.conv1.weight", &[128, 64, 1, 1]),
            ("module.trans1.bn.weight", &[256]),
        ],
    ),
    (
        "vgg16_bn",
        "chenyaofo/pytorch-cifar-models",
        &[("classifier.0.weight", &[512, 512])],
    ),
    (
        "vgg16_bn",
        "weiaicunzai/pytorch-cifar100",
        &[("classifier.0.weight", &[4096, 512])],
    ),
    (
        "mobilenetv2_100",
        "kuangliu/pytorch-cifar",
        &[
            ("layers.0.conv3.weight", &[16, 32, 1, 1]),
            ("layers.1.shortcut.0.weight", &[24, 16, 1, 1]),
        ],
    ),
    (
        "seresnet18",
        "kuangliu/pytorch-cifar",
        &[("layer1.0.fc1.weight", &[4, 64, 1, 1])],
    ),
    (
        "resnet18",
        "kuangliu/pytorch-cifar",
        &[
            ("layer1.0.bn1.weight", &[64]),
            ("layer2.0.bn1.weight", &[64]),
        ],
    ),
    (
        "resnet110",
        "bearpaw/pytorch-classification",
        &[
            ("module.layer1.0.bn1.weight", &[16]),
            ("module.layer2.0.bn1.weight", &[16]),
        ],
    ),
];

#[test]
fn networks_that_differ_are_named_with_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    for (model, program, shapes) in REFUSED {
        let tensor = |(name, dims): &(&str, &[usize])| {
            Ok((
                name.to_string(),
                Tensor::zeros(*dims, DType::F32, &Device::Cpu)?,
            ))
        };
        let tensors = shapes.iter().map(tensor).collect::<Result<_>>()?;
        save(&path, &tensors);
        let args = ModelArgs {
            num_classes: Some(10),
            ..ModelArgs::named(model)
        };
        let error = from_file_with(&path, &args, &Device::Cpu);
        let error = error.err().expect("refused");
        assert!(
            matches!(error, LoadError::Refused { .. }),
            "{model}: {error}"
        );
        let message = error.to_string();
        assert!(
            message.contains(program) && message.contains(model),
            "{message}"
        );
    }
    Ok(())
}

/// A folder of transformers: the network, its classes and its activation are in `config.json`.
#[test]
fn a_folder_of_transformers_is_rebuilt() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    let [case] = &case("transformers", "resnet18")[..] else {
        panic!("one case");
    };
    save(&path, &case.tensors()?);
    let names = [
        "tench", "goldfish", "shark", "ray", "hen", "ostrich", "finch",
    ];
    let labels = names.iter().enumerate().rev();
    let labels: HashMap<String, &str> = labels.map(|(i, name)| (i.to_string(), *name)).collect();
    let mut description = serde_json::json!({
        "architectures": ["ResNetForImageClassification"],
        "depths": [2, 2, 2, 2],
        "downsample_in_bottleneck": false,
        "embedding_size": 64,
        "hidden_act": "relu",
        "hidden_sizes": [64, 128, 256, 512],
        "id2label": labels,
        "layer_type": "basic",
        "model_type": "resnet",
        "num_channels": 3,
    });
    let config = folder.path().join("config.json");
    std::fs::write(&config, description.to_string())?;
    let loaded = from_file(&path, &Device::Cpu).expect("a network");
    assert_eq!(
        (&*loaded.spec.model, loaded.spec.stem),
        ("resnet18", Stem::ImageNet)
    );
    assert_eq!(
        loaded.classes.as_deref(),
        Some(&names.map(String::from)[..])
    );
    let assumed = loaded.notes.iter().flat_map(|note| note.arguments);
    assert!(
        !assumed.clone().any(|argument| *argument == "activation"),
        "{:?}",
        loaded.notes
    );
    case.check_logits(&loaded)?;
    // The stride in another convolution has the same tensors and other logits.
    description["downsample_in_bottleneck"] = true.into();
    std::fs::write(&config, description.to_string())?;
    let error = from_file(&path, &Device::Cpu).err().expect("refused");
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
    // Another network of the same library has another name.
    description["model_type"] = "vit".into();
    std::fs::write(&config, description.to_string())?;
    let error = from_file(&path, &Device::Cpu).err().expect("unnamed");
    assert!(matches!(error, LoadError::Unnamed { .. }), "{error}");
    Ok(())
}

/// The stem, the classes and the image channels of a file without a header.
#[test]
fn the_tensors_decide_what_no_header_records() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    let forms = [
        ("resnet18", Stem::Cifar, 10, 3),
        ("resnet18", Stem::ImageNet, 10, 1),
        ("densenet121", Stem::ImageNet, 100, 3),
        ("vgg11", Stem::Cifar, 1000, 3),
        ("squeezenet1_0", Stem::ImageNet, 5, 4),
        ("resnet20", Stem::Cifar, 1000, 1),
    ];
    for (name, stem, num_classes, in_chans) in forms {
        let spec = ModelSpec {
            activation: candle_mish::Activation::Relu,
            stem,
            num_classes,
            in_chans,
            ..ModelSpec::new(name)
        };
        let store = network(&spec);
        save(&path, &store.tensors().into_iter().collect());
        let weights = Weights::read(&path).expect("weights");
        let (found, notes) = weights.spec(&ModelArgs::named(name)).expect("a network");
        assert_eq!(found, spec);
        let assumed: Vec<&str> = notes
            .iter()
            .flat_map(|note| note.arguments)
            .copied()
            .collect();
        let classes = (num_classes == 1000).then_some("class_map");
        let expected: Vec<&str> = std::iter::once("activation").chain(classes).collect();
        assert_eq!(assumed, expected, "{spec}");
    }
    // The first convolution of MobileNet is the same in both forms.
    let spec = ModelSpec::imagenet("mobilenetv1_100");
    save(&path, &network(&spec).tensors().into_iter().collect());
    let weights = Weights::read(&path).expect("weights");
    let (found, notes) = weights
        .spec(&ModelArgs::named("mobilenetv1_100"))
        .expect("a network");
    assert_eq!(found.stem, Stem::ImageNet);
    assert!(notes.iter().any(|note| note.arguments.contains(&"stem")));
    Ok(())
}

#[test]
fn learned_activations_are_recognised_by_their_parameters() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    for name in ["prelu", "prelu_shared", "srelu"] {
        let spec = ModelSpec {
            activation: name.parse().expect("an activation"),
            ..ModelSpec::new("resnet20")
        };
        let tensors = network(&spec).tensors().into_iter();
        let wrapped = tensors.map(|(key, tensor)| (format!("net.{key}"), tensor));
        save(&path, &wrapped.collect());
        let args = ModelArgs::named("resnet20");
        let loaded = from_file_with(&path, &args, &Device::Cpu).expect("a network");
        assert_eq!(loaded.spec, spec);
        assert!(
            loaded.notes.iter().any(|note| note.message.contains(name)),
            "{name}"
        );
        let args = ModelArgs {
            activation: Some(candle_mish::Activation::Relu),
            ..args
        };
        let error = from_file_with(&path, &args, &Device::Cpu)
            .err()
            .expect(name);
        let message = error.to_string();
        let reason = format!("activation is {name}, not relu");
        assert!(message.contains(&reason), "{message}");
    }
    Ok(())
}

/// One clear reason instead of a list of all tensors.
#[test]
fn arguments_that_the_tensors_contradict_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    let spec = ModelSpec {
        activation: candle_mish::Activation::Relu,
        in_chans: 1,
        ..ModelSpec::imagenet("resnet18")
    };
    save(&path, &network(&spec).tensors().into_iter().collect());
    let named = ModelArgs {
        activation: Some(spec.activation),
        ..ModelArgs::named("resnet18")
    };
    let cases = [
        (
            ModelArgs {
                stem: Some(Stem::Cifar),
                ..named.clone()
            },
            "stem is imagenet, not cifar",
        ),
        (
            ModelArgs {
                num_classes: Some(10),
                ..named.clone()
            },
            "num_classes is 1000, not 10",
        ),
        (
            ModelArgs {
                in_chans: Some(3),
                ..named.clone()
            },
            "in_chans is 1, not 3",
        ),
        (
            ModelArgs {
                activation: Some("prelu".parse().expect("an activation")),
                ..named
            },
            "activation is one without parameters, not prelu",
        ),
    ];
    for (args, reason) in cases {
        let error = from_file_with(&path, &args, &Device::Cpu)
            .err()
            .expect(reason);
        assert!(matches!(error, LoadError::OtherForm { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(reason), "{message}");
        assert!(
            !message.contains("missing") && !message.contains("--"),
            "{message}"
        );
    }
    let akamaster = case("akamaster/pytorch_resnet_cifar10", "resnet20");
    save(&path, &akamaster[0].tensors()?);
    let args = ModelArgs {
        shortcut: Some(Shortcut::B),
        ..ModelArgs::named("resnet20")
    };
    let error = from_file_with(&path, &args, &Device::Cpu)
        .err()
        .expect("no projections");
    assert!(
        error.to_string().contains("shortcut is a, not b"),
        "{error}"
    );
    Ok(())
}

#[cfg(feature = "data")]
#[test]
fn classes_are_those_of_imagenet_unless_the_file_says_otherwise() -> Result<()> {
    use candle_mish::checkpoint;
    use candle_mish::data::imagenet;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("weights.safetensors");
    let spec = |num_classes| ModelSpec {
        num_classes,
        ..ModelSpec::new("resnet20")
    };
    let assumed = |num_classes: usize, header: &[(&str, &str)]| {
        let entries = header.iter();
        let entries = entries.map(|(key, value)| (key.to_string(), value.to_string()));
        let tensors = network(&spec(num_classes)).tensors();
        checkpoint::write(&path, &tensors, &entries.collect()).expect("written");
        let mut weights = Weights::read(&path).expect("weights");
        weights.assume_model(Some("resnet20"));
        let note = weights.assumed_classes().expect("a valid header");
        let classes = weights.classes().expect("a valid header");
        assert_eq!(note.is_some(), classes.is_some(), "{header:?}");
        classes
    };
    let classes = assumed(1000, &[]).expect("ImageNet's");
    assert_eq!(classes, imagenet::NAMES);
    assert_eq!(assumed(10, &[]), None);
    assert_eq!(assumed(1000, &[("dataset", "folder")]), None);
    Ok(())
}

/// A file of PyTorch with several tables: the notes of the reader are the notes of the weights.
#[test]
fn the_table_of_weights_can_be_named() {
    use candle_mish::checkpoint::ReadOptions;

    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/reference/pytorch_file.pth"
    );
    let read = |key: Option<&str>| {
        let options = ReadOptions {
            state_dict_key: key.map(String::from),
        };
        Weights::read_with(path.as_ref(), &options).map_err(Box::new)
    };
    let chosen = read(None).expect("weights");
    for (note, line) in chosen.notes.iter().zip(&chosen.checkpoint.notes) {
        assert!(note.message.contains(line.as_str()), "{note}");
    }
    assert_eq!(chosen.notes.len(), chosen.checkpoint.notes.len());
    let error = read(Some("no.such.table")).expect_err("no table");
    assert!(matches!(*error, LoadError::Checkpoint(_)), "{error}");
}
