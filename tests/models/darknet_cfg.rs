//! darknet's `.cfg` and `.weights` files against an independent interpreter:
//! tests/reference/darknet_cfg.py.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_mish::autograd::value_and_grad;
use candle_mish::checkpoint;
use candle_mish::nn::ParamStore;
use candle_mish::ops::{CrossEntropy, Target, cross_entropy};
use candle_mish_models::weights::Weights;
use candle_mish_models::{
    DarknetCfg, LoadError, Loaded, Mode, ModelArgs, ModelSpec, Stem, create, find, from_file,
    from_file_with, list, reset_classifier,
};
use serde::Deserialize;

use crate::rule;

#[derive(Deserialize)]
struct Reference {
    small: Vec<Small>,
    complete: Vec<Complete>,
}

/// A small network with its weights.
#[derive(Deserialize)]
struct Small {
    name: String,
    size: usize,
    classes: usize,
    logits: Vec<Vec<f64>>,
}

/// A complete network with the rule's weights.
#[derive(Deserialize)]
struct Complete {
    name: String,
    cfg: String,
    /// Of the images, not of the file.
    size: usize,
    gain: f64,
    params: usize,
    /// The first logits of each image.
    logits: Vec<Vec<f64>>,
    norm: f64,
}

/// The largest difference, relative to the root mean square of the logits.
const TOLERANCE: f64 = 1e-5;

fn reference() -> Reference {
    let json = include_str!("../reference/darknet_cfg.json");
    serde_json::from_str(json).expect("a stored reference")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/darknet_cfg")
}

fn weights(name: &str) -> PathBuf {
    folder().join(format!("{name}.weights"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.cfg"))).expect("a cfg")
}

fn load(name: &str) -> Loaded {
    from_file(weights(name), &Device::Cpu).expect("a network")
}

/// The difference of the logits from the first ones of a reference, relative to their root mean
/// square, and the same for the two images.
fn differences(logits: &Tensor, wanted: &[Vec<f64>], typical: f64) -> (f64, f64) {
    let found: Vec<Vec<f64>> = logits
        .to_dtype(DType::F64)
        .and_then(|logits| logits.to_vec2())
        .expect("logits");
    let largest = |a: &[Vec<f64>], b: &[Vec<f64>]| {
        let rows = a.iter().zip(b);
        let pairs = rows.flat_map(|(a, b)| a.iter().zip(b));
        pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / typical
    };
    assert_eq!(found.len(), wanted.len());
    (largest(&found, wanted), largest(&found[..1], &found[1..]))
}

fn typical(logits: &[Vec<f64>]) -> f64 {
    let values: Vec<f64> = logits.iter().flatten().copied().collect();
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn small_networks_of_every_family_are_the_reference() -> Result<()> {
    for case in reference().small {
        let network = load(&case.name);
        assert_eq!(network.spec.model, "darknet_cfg");
        assert_eq!(network.spec.num_classes, case.classes, "{}", case.name);
        assert_eq!(network.preprocess.input_size, case.size, "{}", case.name);
        let images = rule::images((2, 3, case.size, case.size))?;
        let logits = network.forward(&images)?;
        assert_eq!(logits.dims(), [2, case.classes], "{}", case.name);
        let (difference, sensitivity) = differences(&logits, &case.logits, typical(&case.logits));
        println!("{}: {difference:.1e}", case.name);
        assert!(difference < TOLERANCE, "{}: {difference}", case.name);
        assert!(sensitivity > 0.05, "{}: {sensitivity}", case.name);
    }
    Ok(())
}

#[test]
fn complete_networks_are_the_reference() -> Result<()> {
    for case in reference().complete {
        let cfg: DarknetCfg = case.cfg.parse().expect("a cfg");
        let spec = ModelSpec::of_cfg(&cfg);
        assert_eq!(spec.activation.to_string(), "mish", "{}", case.name);
        assert!(spec.layer_activations.is_empty(), "{}", case.name);
        assert_eq!(spec.stem, Stem::ImageNet);
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        create(&spec, store.var_builder()).expect("a network");
        assert_eq!(store.num_params(), case.params, "{}", case.name);
        rule::fill(&store, case.gain)?;
        let frozen = create(&spec, store.frozen().var_builder()).expect("a network");
        let images = rule::images((2, 3, case.size, case.size))?;
        let logits = frozen.forward_t(&images, false)?;
        let typical = case.norm / (logits.elem_count() as f64).sqrt();
        let (difference, sensitivity) = differences(&logits, &case.logits, typical);
        println!("{}: {difference:.1e}", case.name);
        assert!(difference < TOLERANCE, "{}: {difference}", case.name);
        assert!(sensitivity > 0.05, "{}: {sensitivity}", case.name);
        let norm = logits.to_dtype(DType::F64)?.sqr()?.sum_all()?.sqrt()?;
        let norm = norm.to_scalar::<f64>()? / case.norm;
        assert!((norm - 1.0).abs() < TOLERANCE, "{}: {norm}", case.name);
    }
    Ok(())
}

/// darknet53 and csdarknet53 have as many parameters as the registry's networks, which are timm's.
#[test]
fn sizes_are_those_of_the_registry_where_the_networks_agree() {
    for (name, registered) in [("darknet53", "darknet53"), ("csdarknet53", "cspdarknet53")] {
        let cases = reference().complete;
        let case = cases.iter().find(|case| case.name == name);
        let form = find(registered).expect("a network").imagenet;
        let form = form.expect("a form for ImageNet");
        assert_eq!(case.expect("a case").params, form.params, "{name}");
    }
}

#[test]
fn a_saved_network_reloads_with_its_cfg() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, activation) in [
        ("csp", None),
        ("squeeze", Some("relu")),
        ("connected", None),
    ] {
        let args = ModelArgs {
            activation: activation.map(|name| name.parse().expect("an activation")),
            ..ModelArgs::default()
        };
        let network = from_file_with(weights(name), &args, &Device::Cpu).expect("a network");
        let path = folder.path().join(format!("{name}.safetensors"));
        let metadata = network.spec.to_metadata();
        checkpoint::write(&path, &network.store.tensors(), &metadata).expect("written");
        let again = from_file(&path, &Device::Cpu).expect("a network");
        assert_eq!(again.spec, network.spec);
        let size = again.preprocess.input_size;
        let images = rule::images((2, 3, size, size))?;
        let [first, second] = [&network, &again].map(|network| network.forward(&images));
        let (first, second) = (first?.to_vec2::<f32>()?, second?.to_vec2::<f32>()?);
        assert_eq!(first, second, "{name}");
    }
    Ok(())
}

#[test]
fn activations_are_the_files_and_can_be_replaced() -> Result<()> {
    let network = load("csp");
    let spec = &network.spec;
    assert_eq!(spec.activation.to_string(), "leaky_relu:0.1");
    assert_eq!(
        spec.layer_activations.to_string(),
        "layers.12.act=hard_mish;layers.14.act=elu"
    );
    assert_eq!(load("squeeze").spec.activation.to_string(), "silu");
    assert_eq!(load("dense").spec.activation.to_string(), "mish");
    // The activation of all layers is another one. Gates are no activations.
    let images = rule::images((2, 3, 16, 16))?;
    let logits = |args: ModelArgs| {
        let network = from_file_with(weights("squeeze"), &args, &Device::Cpu);
        let network = network.expect("a network");
        network
            .forward(&images)
            .and_then(|logits| logits.to_vec2::<f32>())
    };
    let own = logits(ModelArgs::default())?;
    let relu = logits(ModelArgs {
        activation: "relu".parse().ok(),
        ..ModelArgs::default()
    })?;
    let gate = logits(ModelArgs {
        gate: "hard_sigmoid".parse().ok(),
        ..ModelArgs::default()
    })?;
    let logistic = logits(ModelArgs {
        gate: "sigmoid".parse().ok(),
        ..ModelArgs::default()
    })?;
    assert_eq!(own, logistic);
    assert!(own != relu && own != gate && relu != gate);
    Ok(())
}

#[test]
fn features_and_the_classifier_are_parts_of_the_network() -> Result<()> {
    for (name, features, maps) in [
        (
            "residual",
            12,
            &["layers.0 4x1", "layers.4 8x2", "layers.8 12x4"][..],
        ),
        ("connected", 9, &[]),
        ("dense", 16, &[]),
    ] {
        let network = load(name);
        let model = &network.model;
        assert_eq!(model.num_features(), features, "{name}");
        let size = network.preprocess.input_size;
        let images = rule::images((2, 3, size, size))?;
        assert_eq!(model.features(&images, Mode::Eval)?.dims(), [2, features]);
        let all: Vec<usize> = (0..model.feature_info().len()).collect();
        let tensors = model.feature_maps(&images, &all, Mode::Eval)?;
        let mut found = Vec::new();
        for (info, map) in model.feature_info().iter().zip(&tensors) {
            assert_eq!(map.dims()[1], info.channels, "{name}");
            found.push(format!(
                "{} {}x{}",
                info.module, info.channels, info.reduction
            ));
        }
        if !maps.is_empty() {
            assert_eq!(found, maps, "{name}");
        }
        let mut trainable = network.trainable(&Default::default()).expect("a network");
        assert_eq!(trainable.classifier(), "head");
        reset_classifier(&mut *trainable, 3, &network.store)?;
        assert_eq!(
            trainable.forward_t(&images, false)?.dims(),
            [2, 3],
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn every_parameter_has_a_gradient() -> Result<()> {
    for case in reference().small {
        let network = load(&case.name);
        let model = network.trainable(&Default::default()).expect("a network");
        let images = rule::images((2, 3, case.size, case.size))?;
        let labels = Tensor::new(&[0u32, 1], &Device::Cpu)?;
        let forward = || {
            let logits = model.forward_t(&images, true)?;
            let target = Target::Classes(&labels);
            Ok((
                cross_entropy(&logits, &target, &CrossEntropy::default())?,
                (),
            ))
        };
        let (loss, (), gradients) = value_and_grad(forward)?;
        assert!(loss.to_scalar::<f32>()?.is_finite(), "{}", case.name);
        for (name, parameter) in network.store.params() {
            assert!(gradients.get(&parameter).is_some(), "{}: {name}", case.name);
        }
    }
    Ok(())
}

fn refused(cfg: &str) -> String {
    match cfg.parse::<DarknetCfg>() {
        Ok(cfg) => panic!("accepted: {cfg}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_no_classifier_has_is_refused_with_its_line() {
    let net = "[net]\nheight=32\nwidth=32\nchannels=3\n";
    let tail = "[avgpool]\n[convolutional]\nfilters=5\nactivation=linear\n";
    let with = |middle: &str| refused(&format!("{net}{middle}{tail}"));
    for (found, wanted) in [
        (refused(""), "line 1: it has no [SECTION]"),
        (
            refused("filters=3"),
            "line 1: 'filters=3' must be KEY=VALUE below a [SECTION]",
        ),
        (refused("[net"), "line 1: '[net' must be [SECTION]"),
        (
            refused("[convolutional]"),
            "line 1: [convolutional]: the first section must be [net]",
        ),
        (refused(net), "line 1: [net]: it has no layer with weights"),
        (
            refused("[net]\nwidth=3"),
            "line 1: [net]: height must be at least 1",
        ),
        (
            with("[yolo]\n"),
            "line 5: [yolo]: a detector; only classifiers are supported",
        ),
        (
            with("[lstm]\n"),
            "line 5: [lstm]: this kind of layer is not supported",
        ),
        (
            with("[convolutional]\nfilters=-1\n"),
            "line 6: filters is '-1', must be a whole number up to 1048576",
        ),
        (
            with("[convolutional]\nfilters=9999999999999999999999\n"),
            "line 6: filters is '9999999999999999999999', must be a whole number up to 1048576",
        ),
        (
            with("[convolutional]\nstride=0\n"),
            "line 5: [convolutional]: stride must be at least 1",
        ),
        (
            with("[convolutional]\nxnor=1\n"),
            "line 6: xnor=1 is not supported",
        ),
        (
            with("[convolutional]\nsize=64\n"),
            "line 5: its kernel is larger than its input, 3x32x32",
        ),
        (
            with("[convolutional]\ngroups=2\n"),
            "line 5: groups=2 does not divide 3 input channels and filters=1",
        ),
        (
            with("[route]\nlayers=-1\n"),
            "line 6: layers is '-1', must name layers before layer 0",
        ),
        (
            with("[dropout]\n[route]\nlayers=1\n"),
            "line 7: layers is '1', must name layers before layer 1",
        ),
        (
            with("[maxpool]\nsize=2\npadding=2\n"),
            "line 5: [maxpool]: padding is 2, must be below size, 2",
        ),
        (
            with("[convolutional]\nfilters=1000000\nactivation=mish\nsize=3\npad=1\n"),
            "line 5: its output is too large: 1000000x32x32",
        ),
        (
            refused(&format!("{net}[convolutional]\nactivation=mish\n")),
            "line 5: [convolutional]: its output 1x32x32 is a map: a classifier ends with [avgpool]",
        ),
        (
            refused(&format!("{net}{tail}[route]\nlayers=0\n")),
            "line 9: [route]: a classifier has no such layer after its logits",
        ),
        (
            with(
                "[dropout]\n[maxpool]\nsize=2\nstride=2\n[shortcut]\nfrom=-2\n[maxpool]\nsize=2\nstride=2\n[route]\nlayers=0,-1\n",
            ),
            "line 14: it concatenates 3x32x32 and 3x8x8",
        ),
    ] {
        assert_eq!(found, wanted);
    }
    let unknown = with("[convolutional]\nactivation=stair\n");
    assert!(
        unknown.contains("activation=stair is not supported; supported are"),
        "{unknown}"
    );
    let softmax = refused(&format!("{net}{tail}[softmax]\ntree=9k.tree\n"));
    assert!(softmax.contains("a tree of classes"), "{softmax}");
}

fn error(path: &Path) -> String {
    match Weights::read(path) {
        Ok(_) => panic!("{} was read", path.display()),
        Err(error) => {
            let source = std::error::Error::source(&error);
            let source = source.map_or(String::new(), |source| format!(": {source}"));
            format!("{error}{source}").replace(&path.display().to_string(), "FILE")
        }
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, cfg) = (folder.path().join("a.weights"), folder.path().join("a.cfg"));
    let bytes = std::fs::read(weights("dense")).expect("weights");
    std::fs::write(&path, &bytes).expect("written");
    let lacking = error(&path);
    assert!(
        lacking.starts_with("FILE is a darknet file, which needs its .cfg: cannot read a.cfg: "),
        "{lacking}"
    );
    std::fs::write(&cfg, text("dense")).expect("written");
    assert!(Weights::read(&path).is_ok());
    let values = bytes.len() / 4 - 5;
    for (changed, found) in [
        (bytes[..bytes.len() - 4].to_vec(), values - 1),
        (bytes[..bytes.len() - 3].to_vec(), values - 1),
        (bytes[..24].to_vec(), 1),
        ([&bytes[..], &[0; 4]].concat(), values + 1),
    ] {
        std::fs::write(&path, &changed).expect("written");
        let message = error(&path);
        let wanted = format!(
            "which are {found} numbers, and its .cfg needs {values}: it is incomplete, or belongs to \
             another network"
        );
        assert!(message.ends_with(&wanted), "{message}");
    }
    std::fs::write(&path, &bytes).expect("written");
    std::fs::write(&cfg, "[net]\nheight=x\n").expect("written");
    let message = error(&path);
    assert!(
        message.contains("a.cfg: line 2: height is 'x'"),
        "{message}"
    );
    // Without the header, the file is not recognised.
    let named = Weights::read_darknet(&cfg, &crate::darknet_cfg::folder().join("dense.cfg"));
    let message = named.expect_err("no weights").to_string();
    assert!(
        message.contains("cannot be read as darknet weights"),
        "{message}"
    );
    let direct = checkpoint::read(&path).expect_err("no names").to_string();
    assert!(
        direct.contains("a darknet file, which names no tensors"),
        "{direct}"
    );
}

#[test]
fn a_header_does_not_claim_more_than_the_file_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = load("residual");
    let mut metadata = network.spec.to_metadata();
    let path = folder.path().join("a.safetensors");
    let cfg = metadata["cfg"].replace("filters=8", "filters=8000");
    metadata.insert("cfg".to_string(), cfg);
    checkpoint::write(&path, &network.store.tensors(), &metadata).expect("written");
    let Err(LoadError::Header { source, .. }) = from_file(&path, &Device::Cpu) else {
        panic!("a network of another size");
    };
    assert!(
        source.reason.starts_with("its network has more than the"),
        "{source}"
    );
}

#[test]
fn the_network_needs_a_cfg_and_only_this_one_has_one() {
    let refused = |spec: ModelSpec| {
        let store = ParamStore::zeros(DType::F32, &Device::Cpu);
        match create(&spec, store.var_builder()) {
            Ok(_) => panic!("created {spec}"),
            Err(error) => error.to_string(),
        }
    };
    let message = refused(ModelSpec::new("darknet_cfg"));
    assert!(message.contains("weights with their .cfg"), "{message}");
    let spec = ModelSpec {
        cfg: text("dense").parse().ok(),
        ..ModelSpec::new("resnet20")
    };
    assert_eq!(refused(spec), "cfg has no effect on resnet20");
    assert!(list("darknet_cfg").is_empty());
}

/// Class names of 1000 classes have darknet's order.
#[test]
fn classes_are_in_the_order_of_darknet() {
    let folder = tempfile::tempdir().expect("a folder");
    let cfg = "[net]\nheight=8\nwidth=8\nchannels=3\n[avgpool]\n[convolutional]\nfilters=1000\n\
               activation=linear\n";
    std::fs::write(folder.path().join("a.cfg"), cfg).expect("written");
    let path = folder.path().join("a.weights");
    let mut bytes = [0i32, 2, 0, 0, 0].map(i32::to_le_bytes).concat();
    bytes.resize(bytes.len() + 4 * 4000, 0);
    std::fs::write(&path, bytes).expect("written");
    let network = from_file(&path, &Device::Cpu).expect("a network");
    let classes = network.classes.expect("names");
    assert_eq!(classes[..2], ["kit fox", "English setter"]);
    let notes: Vec<String> = network.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].ends_with("assuming ImageNet-1k's in darknet's order"),
        "{notes:?}"
    );
    assert_eq!(network.preprocess.mean, [0.0; 3]);
    assert_eq!(network.preprocess.std, [1.0; 3]);
}

#[test]
fn shortcuts_between_maps_of_different_sizes_are_reported() {
    let notes = |name: &str| {
        let notes = load(name).notes;
        notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(notes("residual").is_empty());
    let found = notes("grouped");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("pjreddie's darknet"), "{found:?}");
}
