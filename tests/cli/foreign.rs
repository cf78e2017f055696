//! Weights with an incomplete header or for another network: the warnings, and what is kept.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use candle_mish::checkpoint;
use candle_mish::nn::ParamStore;
use candle_mish_models::{Model, ModelSpec};

use crate::pretrained::{OWN, assert_logits, file, images_of, network, online, own, tensors};
use crate::server::{COMMIT, Fault, Hub};
use crate::{SMALL, failure, json, mish, stderr_of};

fn options(activation: &str) -> ModelSpec {
    ModelSpec {
        activation: activation.parse().expect("an activation"),
        ..ModelSpec::new("resnet20")
    }
}

/// A file without a header, with the tensors of a network whose name `keep` accepts.
fn bare(path: &Path, store: &ParamStore, keep: impl Fn(&str) -> bool) -> PathBuf {
    let tensors = store.tensors().into_iter();
    let kept: HashMap<String, Tensor> = tensors.filter(|(name, _)| keep(name)).collect();
    candle_core::safetensors::save(&kept, path).expect("saved");
    path.to_path_buf()
}

#[test]
fn only_what_an_activation_learns_may_be_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = network(&options("relu"));
    let whole = bare(&folder.path().join("whole.safetensors"), &store, |_| true);
    let tune = |weights: &Path, activation: &str, run: &str| {
        let mut command = mish(&["train", "resnet20", "--activation", activation]);
        command.arg("--pretrained").arg(weights).args(SMALL);
        command.args(["--epochs", "1", "--output"]);
        command.arg(folder.path().join(run));
        command
    };
    let stderr = stderr_of(tune(&whole, "prelu", "learnt"));
    assert!(
        stderr.contains("19 parameters of prelu are re-initialised"),
        "{stderr}"
    );
    // The header records prelu. relu has no parameters to load.
    let learnt = folder.path().join("learnt/last.safetensors");
    stderr_of(tune(&learnt, "relu", "back"));
    let lacking = bare(&folder.path().join("lacking.safetensors"), &store, |name| {
        name != "layer2.1.conv1.weight"
    });
    for activation in ["prelu", "srelu", "relu"] {
        let run = folder.path().join("none");
        let output = tune(&lacking, activation, "none")
            .output()
            .expect("started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("missing: layer2.1.conv1.weight"),
            "{stderr}"
        );
        assert!(!run.exists());
    }
}

#[test]
fn verbose_lists_everything_that_does_not_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = network(&options("mish"));
    let weights = bare(&folder.path().join("w.safetensors"), &store, |name| {
        !name.starts_with("layer1.1.")
    });
    let input = folder.path().join("input.safetensors");
    images_of(&input, 3, 32);
    let log = folder.path().join("log");
    let predict = |flags: &[&str]| {
        let mut command = mish(&["predict", "resnet20", "--activation", "mish"]);
        command
            .arg(&input)
            .arg("--weights")
            .arg(&weights)
            .args(flags);
        command
    };
    let error = failure(predict(&[]), 1);
    assert!(error.contains("and 7 more (-v lists all)"), "{error}");
    let output = predict(&["-v", "--log-file", log.to_str().expect("text")]).output();
    let stderr = String::from_utf8(output.expect("started").stderr).expect("text");
    let log = std::fs::read_to_string(log).expect("a log");
    for listed in [stderr, log] {
        let lines = listed
            .lines()
            .filter(|line| line.contains("missing: layer1.1."));
        assert!(lines.count() >= 10, "{listed}");
    }
    // A warning reports keys that were renamed.
    let wrapped: HashMap<String, Tensor> = store
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (format!("module.{name}"), tensor))
        .collect();
    candle_core::safetensors::save(&wrapped, &weights).expect("saved");
    let stderr = stderr_of(predict(&[]));
    assert!(stderr.contains("removed the prefix 'module.'"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn assumptions_about_a_file_without_a_header_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, model) = network(&options("relu"));
    let weights = bare(&folder.path().join("w.safetensors"), &store, |_| true);
    let input = folder.path().join("input.safetensors");
    let want = model.forward_t(&images_of(&input, 3, 32), false);
    let want = want.expect("logits");
    let logits = folder.path().join("logits.json");
    for flag in ["--weights", "--pretrained"] {
        let predict = |flags: &[&str]| {
            let mut command = mish(&["predict", "resnet20"]);
            command.arg(&input).arg(flag).arg(&weights).args(flags);
            command.arg("--logits").arg(&logits);
            stderr_of(command)
        };
        let stderr = predict(&[]);
        assert!(
            stderr.contains("assuming relu; change it with --activation"),
            "{stderr}"
        );
        assert_logits(&logits, &want);
        std::fs::remove_file(&logits).expect("written");
        assert_eq!(predict(&["--activation", "relu"]), "");
    }
    // For a network with weights in the table, their preprocessing is assumed as well.
    let (store, _) = network(&ModelSpec {
        activation: "relu6".parse().expect("an activation"),
        ..ModelSpec::imagenet("mobilenetv2_100")
    });
    let weights = bare(&weights, &store, |_| true);
    let image = folder.path().join("image.png");
    image::RgbImage::new(40, 30).save(&image).expect("saved");
    for flag in ["--weights", "--pretrained"] {
        let mut command = mish(&["predict", "mobilenetv2_100"]);
        command.arg(&image).arg(flag).arg(&weights);
        let stderr = stderr_of(command);
        for part in [
            "does not record its activation: assuming relu6; change it with --activation",
            "does not record its preprocessing: assuming 224 pixels, crop 0.875, bicubic",
            "--crop-pct",
        ] {
            assert!(stderr.contains(part), "{flag}: {stderr}");
        }
    }
}

#[test]
fn images_of_one_channel_are_trained_on_from_weights_of_three() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let (files, _) = own();
    let hub = Hub::start(vec![(OWN, files)]);
    let mut train = online(&hub, home, &["train", "resnet20", "--in-chans", "1"]);
    train.args(SMALL).arg("--output").arg(home.join("run"));
    train.args(["--pretrained", "hf://some-one/resnet20-cifar"]);
    let stderr = stderr_of(train);
    assert!(
        stderr.contains("adapted conv1.weight from 3 to 1 channels"),
        "{stderr}"
    );
    let config = std::fs::read_to_string(home.join("run/config.toml")).expect("written");
    let config: toml::Table = config.parse().expect("TOML");
    assert_eq!(config["in_chans"].as_integer(), Some(1));
    let weights = home.join("run/last.safetensors");
    assert_eq!(tensors(&weights)["conv1.weight"].dims(), [16, 1, 3, 3]);
    let header = checkpoint::read(&weights).expect("read").metadata;
    assert_eq!(header["in_chans"], "1");
    let summary = std::fs::read_to_string(home.join("run/summary.json")).expect("written");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    let with = |command: &str, flags: &[&Path]| {
        let mut command = mish(&[command, "--weights"]);
        command.arg(&weights).args(flags);
        command
    };
    assert_eq!(json(with("eval", &[]))["loss"], summary["final_loss"]);
    // A color image is converted to grayscale.
    let (colour, grey) = (home.join("colour.png"), home.join("grey.png"));
    let pixels = image::RgbImage::from_fn(40, 36, |x, y| image::Rgb([5 * x as u8, 6 * y as u8, 9]));
    pixels.save(&colour).expect("saved");
    image::DynamicImage::from(pixels)
        .to_luma8()
        .save(&grey)
        .expect("saved");
    let classes = json(with("predict", &[&colour]));
    assert_eq!(classes[0]["classes"].as_array().map(Vec::len), Some(5));
    json(with("predict", &[&grey]));
    let out = home.join("out.onnx");
    let exported = json(with("export", &[Path::new("--out"), &out]));
    assert_eq!(exported["graph"]["input"], serde_json::json!([1, 32, 32]));
    let input = home.join("input.safetensors");
    images_of(&input, 3, 32);
    let error = failure(with("predict", &[&input]), 2);
    assert!(
        error.contains("has 3 channels, the network takes 1"),
        "{error}"
    );
    let mut resumed = mish(&["train", "--in-chans", "3", "--resume"]);
    resumed.arg(home.join("run"));
    let error = failure(resumed, 2);
    assert!(error.contains("in_chans = 1"), "{error}");
}

#[test]
fn images_have_three_channels_or_one_and_tensors_any() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let mut train = mish(&["train", "resnet20", "--in-chans", "4", "--dry-run"]);
    train.args(SMALL);
    let error = failure(train, 2);
    assert!(
        error.contains("--in-chans 4: images have 3 channels, or 1 in grayscale"),
        "{error}"
    );
    let four = ModelSpec {
        in_chans: 4,
        num_classes: 7,
        ..options("relu")
    };
    let (store, model) = network(&four);
    let weights = bare(&home.join("w.safetensors"), &store, |_| true);
    let (input, out) = (home.join("input.safetensors"), home.join("logits.json"));
    let images = images_of(&input, 4, 32);
    let predict = |input: &Path| {
        let mut command = mish(&["predict", "resnet20", "--in-chans", "4"]);
        command.args(["--activation", "relu"]).arg(input);
        command.arg("--weights").arg(&weights);
        command
    };
    predict(&input).arg("--logits").arg(&out).assert().success();
    assert_logits(&out, &model.forward_t(&images, false).expect("logits"));
    let image = home.join("image.png");
    image::RgbImage::new(32, 32).save(&image).expect("saved");
    let error = failure(predict(&image), 2);
    assert!(error.contains("from a safetensors file"), "{error}");
}

#[test]
fn gates_are_chosen_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let hard = ModelSpec {
        model: "seresnet18".to_owned(),
        gate: Some("hard_sigmoid".parse().expect("an activation")),
        ..options("relu")
    };
    let (store, model) = network(&hard);
    let weights = bare(&home.join("w.safetensors"), &store, |_| true);
    let kept = home.join("kept.safetensors");
    let mut export = mish(&[
        "export",
        "seresnet18",
        "--gate",
        "hard_sigmoid",
        "--stem",
        "cifar",
    ]);
    export
        .args(["--activation", "relu", "--weights"])
        .arg(&weights);
    export.arg("--out").arg(&kept).assert().success();
    let (input, out) = (home.join("input.safetensors"), home.join("logits.json"));
    let images = images_of(&input, 3, 32);
    let mut predict = mish(&["predict"]);
    predict
        .arg(&input)
        .arg("--logits")
        .arg(&out)
        .arg("--weights")
        .arg(&kept);
    assert_eq!(stderr_of(predict), "");
    assert_logits(&out, &model.forward_t(&images, false).expect("logits"));
    let mut dry = mish(&["train", "seresnet18", "--gate", "hard_sigmoid", "--dry-run"]);
    dry.args(SMALL);
    assert_eq!(json(dry)["gate"], "hard_sigmoid");
}

/// A repository as timm's `push_to_hf_hub` writes it, for a network with other arguments.
fn described(description: &str, spec: &ModelSpec) -> (HashMap<String, Vec<u8>>, Box<dyn Model>) {
    let (store, model) = network(spec);
    let files = HashMap::from([
        ("model.safetensors".to_owned(), file(&store)),
        ("config.json".to_owned(), description.as_bytes().to_vec()),
    ]);
    (files, model)
}

#[test]
fn arguments_in_a_description_override_the_published_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let description = serde_json::json!({
        "architecture": "resnet20",
        "num_classes": 3,
        "label_names": ["ape", "bee", "cat"],
        "model_args": {"act_layer": "mish", "in_chans": 1, "stem_width": 24},
        "pretrained_cfg": {
            "num_classes": 1000,
            "input_size": [3, 32, 48],
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "interpolation": "lanczos",
            "mean": [0.5],
            "std": [0.25],
        },
    });
    let own = ModelSpec {
        num_classes: 3,
        in_chans: 1,
        ..options("mish")
    };
    let (files, model) = described(&description.to_string(), &own);
    let hub = Hub::start(vec![(OWN, files)]);
    let (input, out) = (home.join("input.safetensors"), home.join("logits.json"));
    let images = images_of(&input, 1, 32);
    let address = "hf://some-one/resnet20-cifar";
    let mut predict = online(&hub, home, &["predict"]);
    predict
        .arg(&input)
        .args(["--pretrained", address, "--logits"])
        .arg(&out);
    let stderr = stderr_of(predict);
    for part in [
        "images of 32x48 are treated as 32x32; change it with --img-size",
        "crop_mode \"squash\" is not supported",
        "interpolation \"lanczos\" is not supported: using bicubic; change it with --interpolation",
        "model_args: stem_width = 24 is ignored",
    ] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert_logits(&out, &model.forward_t(&images, false).expect("logits"));
    // The description comes from the same commit as the weights.
    let requests = hub.take_requests();
    let pinned = format!("/some-one/resnet20-cifar/resolve/{COMMIT}/config.json");
    assert!(
        requests.iter().any(|line| line.ends_with(&pinned)),
        "{requests:?}"
    );
    let image = home.join("image.png");
    image::RgbImage::new(40, 36).save(&image).expect("saved");
    let mut predict = online(&hub, home, &["predict"]);
    predict.arg(&image).args(["--pretrained", address]);
    let answer = json(predict);
    let classes = answer[0]["classes"].as_array().expect("a list").iter();
    let mut names: Vec<&str> = classes
        .filter_map(|class| class["class"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["ape", "bee", "cat"]);
    // The warning about an unknown activation names the flag.
    let odd = description
        .to_string()
        .replace("\"mish\"", "\"quick_gelu2\"");
    let (files, _) = described(&odd, &own);
    let hub = Hub::start(vec![(OWN, files)]);
    let mut predict = online(&hub, &home.join("odd"), &["predict"]);
    predict.arg(&input).args(["--pretrained", address]);
    let stderr = stderr_of(predict);
    assert!(
        stderr.contains("act_layer \"quick_gelu2\" is not supported"),
        "{stderr}"
    );
}

#[test]
fn a_failed_download_of_the_description_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let input = home.join("input.safetensors");
    images_of(&input, 3, 32);
    let predict = |hub: &Hub, home: &str| {
        let mut command = online(hub, &folder.path().join(home), &["predict", "resnet20"]);
        command.arg(&input);
        command.args(["--pretrained", "hf://some-one/resnet20-cifar"]);
        command
    };
    let (mut files, _) = own();
    let fault = Fault::File("config.json", "500 Internal Server Error");
    let hub = Hub::failing(vec![(OWN, files.clone())], fault);
    let error = failure(predict(&hub, "failing"), 1);
    assert!(
        error.contains("config.json") && error.contains("500"),
        "{error}"
    );
    for text in ["{\"architecture\": \"resn", "[]"] {
        files.insert("config.json".to_owned(), text.as_bytes().to_vec());
        let hub = Hub::start(vec![(OWN, files.clone())]);
        let error = failure(predict(&hub, &format!("damaged-{}", text.len())), 1);
        assert!(error.contains("config.json is damaged"), "{error}");
    }
    // Without a description, the activation is assumed.
    files.remove("config.json");
    let hub = Hub::start(vec![(OWN, files)]);
    let stderr = stderr_of(predict(&hub, "none"));
    assert!(
        stderr.contains("does not record its activation"),
        "{stderr}"
    );
}
