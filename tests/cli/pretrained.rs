//! Weights from the Hub, end to end, with a Hub on the loopback interface.

use std::collections::HashMap;
use std::path::Path;

use assert_cmd::Command;
use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint;
use candle_mish::nn::ParamStore;
use candle_mish_models::{self as models, Model, ModelSpec, Stem};

use crate::server::{COMMIT, Fault, Hub};
use crate::{SMALL, failure, json, mish, stderr_of};

const MOBILENET: &str = "models/timm/mobilenetv2_100.ra_in1k";
pub(crate) const OWN: &str = "models/some-one/resnet20-cifar";

pub(crate) fn network(spec: &ModelSpec) -> (ParamStore, Box<dyn Model>) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 7);
    let model = models::create(spec, store.var_builder()).expect("built");
    (store, model)
}

/// A network from the table of weights, with random weights: its file and the network.
fn mobilenet() -> (Vec<u8>, Box<dyn Model>) {
    let spec = ModelSpec {
        activation: "relu6".parse().expect("an activation"),
        ..ModelSpec::imagenet("mobilenetv2_100")
    };
    let (store, model) = network(&spec);
    (file(&store), model)
}

/// A user's ResNet-20 with ReLU and seven classes: its file and description.
pub(crate) fn own() -> (HashMap<String, Vec<u8>>, ParamStore) {
    let spec = ModelSpec {
        activation: "relu".parse().expect("an activation"),
        num_classes: 7,
        ..ModelSpec::new("resnet20")
    };
    let (store, _) = network(&spec);
    let description = serde_json::json!({
        "architecture": "resnet20",
        "num_classes": 7,
        "pretrained_cfg": {
            "mean": [0.5, 0.25, 0.125],
            "std": [0.25, 0.25, 0.5],
            "input_size": [3, 32, 32],
            "crop_pct": 1.0,
            "interpolation": "bilinear",
        },
    });
    let files = HashMap::from([
        ("model.safetensors".to_owned(), file(&store)),
        (
            "config.json".to_owned(),
            description.to_string().into_bytes(),
        ),
    ]);
    (files, store)
}

/// The weights without our header, as other programs write them.
pub(crate) fn file(store: &ParamStore) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights.safetensors");
    let tensors: HashMap<String, Tensor> = store.tensors().into_iter().collect();
    candle_core::safetensors::save(&tensors, &path).expect("saved");
    std::fs::read(path).expect("read")
}

/// `mish` with a Hub and with a cache in `home`.
pub(crate) fn online(hub: &Hub, home: &Path, args: &[&str]) -> Command {
    let mut command = mish(args);
    command
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .env("HF_HOME", home.join("hf"))
        .env("HF_ENDPOINT", &hub.address);
    command
}

fn images(path: &Path, size: usize) -> Tensor {
    images_of(path, 3, size)
}

/// Two images, also in a file for `mish predict`.
pub(crate) fn images_of(path: &Path, channels: usize, size: usize) -> Tensor {
    let count = 2 * channels * size * size;
    let images = Tensor::arange(0f32, count as f32, &Device::Cpu)
        .and_then(|x| (x / 500.)?.sin()?.reshape((2, channels, size, size)))
        .expect("images");
    let file = HashMap::from([("input".to_string(), images.clone())]);
    candle_core::safetensors::save(&file, path).expect("saved");
    images
}

pub(crate) fn assert_logits(path: &Path, want: &Tensor) {
    let written = std::fs::read_to_string(path).expect("logits");
    let written: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    let want = want.to_vec2::<f32>().expect("logits");
    let rows = written["logits"].as_array().expect("rows");
    assert_eq!(rows.len(), want.len());
    for (got, want) in rows.iter().zip(&want) {
        let got = got.as_array().expect("a row");
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            let got = got.as_f64().expect("a number") as f32;
            assert!(
                (got - want).abs() < 1e-4 * want.abs().max(1.0),
                "{got} is not {want}"
            );
        }
    }
}

#[test]
fn the_weights_of_a_network_are_listed() {
    let network = json(mish(&["models", "resnet18"]));
    let first = &network["pretrained"][0];
    assert_eq!(first["repo"], "timm/resnet18.a1_in1k");
    assert_eq!(
        (&first["crop_pct"], &first["input_size"]),
        (&0.95.into(), &224.into())
    );
    let table = mish(&["models", "resnet18"]).output().expect("started");
    let table = String::from_utf8(table.stdout).expect("text");
    for part in [
        "--pretrained TAG",
        "tv_in1k",
        "edadaltocg/resnet18_cifar100",
        "BSD-3-Clause",
    ] {
        assert!(table.contains(part), "{table}");
    }
}

#[test]
fn default_weights_are_downloaded_and_evaluated() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, model) = mobilenet();
    let files = HashMap::from([("model.safetensors".to_owned(), weights)]);
    let hub = Hub::start(vec![(MOBILENET, files)]);
    let input = folder.path().join("input.safetensors");
    let images = images(&input, 64);
    let out = folder.path().join("logits.json");
    let (input, out) = (input.to_str().expect("text"), out.to_str().expect("text"));
    let want = model.forward_t(&images, false).expect("logits");
    let predict = ["predict", "mobilenetv2_100", input, "--logits", out];
    let pinned = format!("hf://timm/mobilenetv2_100.ra_in1k@{COMMIT}/model.safetensors");
    for name in [
        &[][..],
        &["ra_in1k"],
        &["hf://timm/mobilenetv2_100.ra_in1k"],
        &[&pinned],
    ] {
        let mut command = online(&hub, folder.path(), &predict);
        command.arg("--pretrained").args(name).assert().success();
        assert_logits(Path::new(out), &want);
        std::fs::remove_file(out).expect("removed");
    }
    // The four commands share one download. Without the Hub the cache supplies the file.
    let requests = hub.take_requests();
    let downloads = requests
        .iter()
        .filter(|line| line.starts_with("GET /") && line.len() == 69);
    assert_eq!(downloads.count(), 1, "{requests:?}");
    let mut offline = mish(&predict);
    offline
        .env("HF_HOME", folder.path().join("hf"))
        .arg("--pretrained");
    offline.assert().success();
    assert_logits(Path::new(out), &want);
}

#[test]
fn a_user_repository_describes_its_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, store) = own();
    let hub = Hub::start(vec![(OWN, files)]);
    let input = folder.path().join("input.safetensors");
    let images = images(&input, 32);
    let out = folder.path().join("logits.json");
    let spec = ModelSpec {
        activation: "relu".parse().expect("an activation"),
        num_classes: 7,
        stem: Stem::Cifar,
        ..ModelSpec::new("resnet20")
    };
    let model = models::create(&spec, store.var_builder()).expect("built");
    let want = model.forward_t(&images, false).expect("logits");
    let mut predict = online(&hub, folder.path(), &["predict"]);
    predict.arg(&input).arg("--logits").arg(&out);
    predict.args(["--pretrained", "hf://some-one/resnet20-cifar"]);
    predict.assert().success();
    assert_logits(&out, &want);
    let written = std::fs::read_to_string(&out).expect("logits");
    assert!(written.contains("\"activation\": \"relu\""), "{written}");
}

#[test]
fn bad_weights_give_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.safetensors");
    images(&input, 32);
    let input = input.to_str().expect("text");
    let (files, _) = own();
    let hub = Hub::start(vec![(OWN, files.clone())]);
    let ask = |args: &[&str]| {
        let mut command = online(&hub, folder.path(), &["predict"]);
        command.args(args);
        command
    };
    let address = "hf://some-one/resnet20-cifar";
    let gone = format!("{address}@v9");
    let lacking = format!("{address}/other.safetensors");
    let cases: [(&[&str], i32, &str); 8] = [
        (
            &["resnet18", input, "--pretrained", "a9_in1k"],
            2,
            "there are a1_in1k",
        ),
        (
            &["resnet20", input, "--pretrained"],
            2,
            "no weights of resnet20 are known",
        ),
        (
            &[input, "--pretrained", "hf://nonsense"],
            2,
            "expected hf://owner/name",
        ),
        (&[input, "--pretrained", "a1_in1k"], 2, "name the network"),
        (
            &[input, "--pretrained", &gone],
            1,
            "no branch, tag or commit 'v9'",
        ),
        (
            &[input, "--pretrained", &lacking],
            1,
            "has no other.safetensors; it has ",
        ),
        (
            &["resnet32", input, "--pretrained", address],
            1,
            "holds resnet20, not resnet32",
        ),
        (&["resnet20", input], 2, "--weights"),
    ];
    for (args, code, says) in cases {
        let error = failure(ask(args), code);
        assert!(error.contains(says), "{args:?}: {error}");
    }
    let mut offline = mish(&["predict", input, "--pretrained", address]);
    offline.env("HF_HOME", folder.path().join("nothing"));
    let error = failure(offline, 1);
    assert!(error.contains("offline mode is on"), "{error}");
    // No server listens at this address.
    let mut unreachable = mish(&["predict", input, "--pretrained", address]);
    unreachable
        .env_remove("HF_HUB_OFFLINE")
        .env("HF_HOME", folder.path().join("unreachable"))
        .env("HF_ENDPOINT", "http://127.0.0.1:9");
    let error = failure(unreachable, 1);
    assert!(
        error.contains("cannot reach the Hugging Face Hub") && error.contains("HF_HUB_OFFLINE"),
        "{error}"
    );
    assert!(error.len() < 200, "{error}");
    let refusing = Hub::failing(
        vec![(OWN, files)],
        Fault::Site("401 Unauthorized", "RepoNotFound"),
    );
    let mut refused = online(&refusing, &folder.path().join("new"), &["predict", input]);
    refused.args(["--pretrained", address]);
    let error = failure(refused, 1);
    assert!(error.contains("HF_TOKEN"), "{error}");
    let garbage = folder.path().join("weights.pth");
    std::fs::write(&garbage, b"PK\x03\x04 and no archive").expect("written");
    let mut predict = mish(&["predict", "resnet20", input, "--weights"]);
    predict.arg(&garbage);
    let error = failure(predict, 1);
    assert!(
        error.contains("cannot be read as PyTorch weights"),
        "{error}"
    );
}

pub(crate) fn tensors(path: &Path) -> HashMap<String, Tensor> {
    checkpoint::read(path).expect("a checkpoint").tensors
}

fn equal(a: &Tensor, b: &Tensor) -> bool {
    let values = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    values(a).expect("values") == values(b).expect("values")
}

/// A short training from a user's weights, with more flags.
fn tune(hub: &Hub, home: &Path, run: &str, flags: &[&str]) -> Command {
    let mut command = online(hub, home, &["train", "resnet20"]);
    command.arg("--output").arg(home.join(run)).args(SMALL);
    command.args([
        "--pretrained",
        "hf://some-one/resnet20-cifar",
        "--lr",
        "0.02",
    ]);
    command.args(flags);
    command
}

#[test]
fn training_starts_from_trained_weights_and_reports_new_layers() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let (files, store) = own();
    let hub = Hub::start(vec![(OWN, files)]);
    let stderr = stderr_of(tune(&hub, home, "frozen", &["--freeze-backbone"]));
    assert!(
        stderr.contains("initialised a new classifier fc: the weights have 7 classes"),
        "{stderr}"
    );
    let trained = tensors(&home.join("frozen/last.safetensors"));
    // Weights and running statistics of the backbone are unchanged.
    for (name, tensor) in store.tensors() {
        if !name.starts_with("fc.") {
            assert!(equal(&trained[&name], &tensor), "{name}");
        }
    }
    assert_eq!(trained["fc.weight"].dims()[0], 100);
    let config = std::fs::read_to_string(home.join("frozen/config.toml")).expect("written");
    let config: toml::Table = config.parse().expect("TOML");
    let origin = format!("hf://some-one/resnet20-cifar@{COMMIT}/model.safetensors");
    assert_eq!(config["pretrained"].as_str(), Some(&*origin));
    assert_eq!(config["activation"].as_str(), Some("relu"));
    assert_eq!(config["recipe"]["freeze_backbone"].as_bool(), Some(true));
    assert_eq!(config["mean"][1].as_float(), Some(0.25));
    let header = checkpoint::read(&home.join("frozen/last.safetensors")).expect("read");
    assert_eq!(header.metadata["mean"], "[0.5,0.25,0.125]");
    assert_eq!(header.metadata["pretrained"], origin);
    let mut eval = mish(&["eval", "--weights"]);
    eval.arg(home.join("frozen/last.safetensors"));
    assert_eq!(json(eval)["model"], "resnet20");
}

#[test]
fn fine_tuning_in_layers_is_resumed_to_the_same_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let (files, store) = own();
    let hub = Hub::start(vec![(OWN, files)]);
    let flags = [
        "--layer-decay",
        "0.5",
        "--head-warmup-epochs",
        "1",
        "--opt",
        "adamw",
    ];
    tune(&hub, home, "whole", &flags).assert().success();
    let whole = tensors(&home.join("whole/last.safetensors"));
    let moved = |name: &str| {
        let before: HashMap<String, Tensor> = store.tensors().into_iter().collect();
        let by =
            (&whole[name] - &before[name]).and_then(|d| d.abs()?.mean_all()?.to_scalar::<f32>());
        by.expect("a distance")
    };
    // A step of AdamW is about the learning rate, which halves from layer to layer.
    let (first, last) = (
        moved("layer1.0.conv1.weight"),
        moved("layer3.2.conv2.weight"),
    );
    assert!(first > 0.0 && last > 50.0 * first, "{first} {last}");
    assert!(moved("bn1.running_mean") > 0.0);
    // The first epoch trains only the classifier.
    let mut warm = tune(&hub, home, "warm", &flags);
    warm.args(["--epochs", "1"]).assert().success();
    for (name, tensor) in store.tensors() {
        let same = equal(
            &tensors(&home.join("warm/last.safetensors"))[&name],
            &tensor,
        );
        assert!(same || name.starts_with("fc."), "{name}");
    }
    // Resuming downloads no weights, so that it needs no Hub.
    std::fs::remove_dir_all(home.join("hf")).expect("removed");
    let mut again = mish(&["train", "--resume"]);
    again.arg(home.join("whole"));
    again.assert().success();
    let resumed = tensors(&home.join("whole/last.safetensors"));
    assert!(
        whole
            .iter()
            .all(|(name, tensor)| equal(tensor, &resumed[name]))
    );
    let mut alone = mish(&["train", "resnet20", "--freeze-backbone", "--dry-run"]);
    alone.args(SMALL);
    assert!(failure(alone, 2).contains("need --pretrained"));
}
