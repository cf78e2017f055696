//! Fine-tuning and resuming by the names of the classes.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint;
use candle_mish::nn::ParamStore;
use candle_mish_models::{self as models, ModelSpec};
use serde_json::Value;

use crate::{failure, json, mish, success};

const MODEL: &str = "mlp_2x8";

/// Images of one colour, with this number in each class folder of both splits.
fn tree(root: &Path, classes: &[(&str, usize)]) -> String {
    for (class, count) in classes {
        for split in ["train", "val"] {
            let folder = root.join(split).join(class);
            std::fs::create_dir_all(&folder).expect("a folder");
            for i in 0..*count {
                let image = image::RgbImage::from_pixel(32, 32, image::Rgb([40 * i as u8; 3]));
                image.save(folder.join(format!("{i}.png"))).expect("saved");
            }
        }
    }
    format!("folder:{}", root.display())
}

/// The network's classifier in a checkpoint: its weights and biases.
fn classifier(path: &Path) -> Vec<f32> {
    let saved = checkpoint::read(path).expect("a checkpoint");
    let mut own: Vec<_> = saved
        .tensors
        .iter()
        .filter(|(name, _)| name.starts_with(&format!("{}.", classifier_path())))
        .collect();
    assert_eq!(own.len(), 2);
    own.sort_by_key(|(name, _)| *name);
    let values = |tensor: &Tensor| tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
    own.iter()
        .flat_map(|(_, tensor)| values(tensor).expect("f32"))
        .collect()
}

fn network(spec: &ModelSpec) -> (ParamStore, String) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 5);
    let model = models::create(spec, store.var_builder()).expect("built");
    (store, model.classifier().to_string())
}

fn classifier_path() -> String {
    network(&ModelSpec::new(MODEL)).1
}

/// A network whose logits are `bias` for every image, with class names if there are any.
fn constant(path: &Path, bias: &[f32], classes: Option<&[&str]>) -> PathBuf {
    let spec = ModelSpec {
        num_classes: bias.len(),
        ..ModelSpec::new(MODEL)
    };
    let (store, classifier) = network(&spec);
    let mut header = spec.to_metadata();
    let mut set = |key: &str, value: &str| header.insert(key.to_string(), value.to_string());
    if let Some(classes) = classes {
        set("classes", &serde_json::json!(classes).to_string());
    }
    set("image_size", "32");
    set("mean", "[0.5,0.5,0.5]");
    set("std", "[0.25,0.25,0.25]");
    let tensors: Vec<(String, Tensor)> = store
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let value = if name == format!("{classifier}.weight") {
                tensor.zeros_like()
            } else if name == format!("{classifier}.bias") {
                Tensor::new(bias, &Device::Cpu)
            } else {
                Ok(tensor)
            };
            (name, value.expect("a tensor"))
        })
        .collect();
    checkpoint::write(path, &tensors, &header).expect("written");
    path.to_path_buf()
}

/// A training whose steps are too small to change the result.
fn tune(weights: &Path, data: &str, run: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "--pretrained"]);
    command
        .arg(weights)
        .arg(MODEL)
        .args(["--dataset", data, "--output"]);
    command
        .arg(run)
        .args(["--lr", "1e-9", "--sched", "constant", "--weight-decay", "0"]);
    command.args(["--batch-size", "4", "--threads", "1", "--epochs", "1"]);
    command.args(flags);
    command
}

fn classes(run: &Path) -> Value {
    let saved = checkpoint::read(&run.join("last.safetensors")).expect("a checkpoint");
    serde_json::from_str(&saved.metadata["classes"]).expect("JSON")
}

/// Whether the run kept the classifier of its weights.
fn keeps(weights: &Path, run: &Path) -> bool {
    let (before, after) = (
        classifier(weights),
        classifier(&run.join("last.safetensors")),
    );
    before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-3)
}

#[test]
fn the_rows_of_a_classifier_keep_their_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let data = tree(&path("tree"), &[("a", 4), ("b", 2), ("c", 2)]);
    // Every image is an `a`, as half of them are.
    let weights = constant(
        &path("w.safetensors"),
        &[0.0, 9.0, 0.0],
        Some(&["c", "a", "b"]),
    );
    let run = path("run");
    let summary = json(tune(&weights, &data, &run, &[]));
    assert_eq!(summary["final_top1"], 0.5);
    assert_eq!(classes(&run), serde_json::json!(["c", "a", "b"]));
    assert!(keeps(&weights, &run));

    // A resumed run has the same labels.
    let straight = path("straight");
    tune(
        &weights,
        &data,
        &straight,
        &["--epochs", "3", "--lr", "0.1"],
    )
    .assert()
    .success();
    let stopped = path("stopped");
    tune(&weights, &data, &stopped, &["--lr", "0.1"])
        .assert()
        .success();
    let mut resume = mish(&["train", "--threads", "1", "--epochs", "3", "--resume"]);
    resume.arg(&stopped).assert().success();
    for file in ["best.safetensors", "last.safetensors"] {
        let bytes = |run: &Path| std::fs::read(run.join(file)).expect("weights");
        assert!(bytes(&straight) == bytes(&stopped), "{file}");
    }
}

#[test]
fn other_classes_get_a_new_classifier() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let data = tree(&path("tree"), &[("a", 4), ("y", 2), ("z", 2)]);
    let weights = constant(
        &path("w.safetensors"),
        &[0.0, 9.0, 0.0],
        Some(&["a", "b", "c"]),
    );
    let run = path("run");
    let (_, stderr) = success(tune(&weights, &data, &run, &[]));
    for said in ["initialised a new classifier", "2 of 3 classes", "y, z"] {
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(classes(&run), serde_json::json!(["a", "y", "z"]));
    assert!(!keeps(&weights, &run));
}

#[test]
fn a_subset_of_the_classes_keeps_the_classifier_if_all_outputs_are_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let data = tree(&path("tree"), &[("b", 6), ("c", 2)]);
    let weights = constant(
        &path("w.safetensors"),
        &[0.0, 9.0, 0.0],
        Some(&["a", "b", "c"]),
    );
    let run = path("all");
    let (_, stderr) = success(tune(&weights, &data, &run, &["--num-classes", "3"]));
    assert!(stderr.contains("2 of the network's 3 classes"), "{stderr}");
    assert_eq!(classes(&run), serde_json::json!(["a", "b", "c"]));
    assert!(keeps(&weights, &run));
    let summary = std::fs::read(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(summary["final_top1"], 0.75);
    let mut resume = mish(&["train", "--threads", "1", "--epochs", "2", "--resume"]);
    resume.arg(&run).assert().success();

    let run = path("two");
    let (_, stderr) = success(tune(&weights, &data, &run, &[]));
    assert!(stderr.contains("the weights have 3 classes"), "{stderr}");
    assert_eq!(classes(&run), serde_json::json!(["b", "c"]));
}

#[test]
fn weights_without_class_names_are_matched_by_position_with_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let data = tree(&path("tree"), &[("a", 4), ("b", 4)]);
    let weights = constant(&path("w.safetensors"), &[9.0, 0.0], None);
    let run = path("run");
    let (_, stderr) = success(tune(&weights, &data, &run, &[]));
    assert!(stderr.contains("does not record its classes"), "{stderr}");
    assert!(keeps(&weights, &run));
}

#[test]
fn a_run_resumes_only_with_its_classes_and_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("tree");
    let data = tree(&root, &[("a", 4), ("b", 4), ("c", 4)]);
    let run = folder.path().join("run");
    let mut train = mish(&[
        "train",
        MODEL,
        "--dataset",
        &data,
        "--img-size",
        "32",
        "--output",
    ]);
    train
        .arg(&run)
        .args(["--batch-size", "4", "--epochs", "1", "--threads", "1"]);
    train.args(["--sched", "constant", "--lr", "0.01"]);
    train.assert().success();
    let resume = || {
        let mut command = mish(&["train", "--threads", "1", "--epochs", "2", "--resume"]);
        command.arg(&run);
        command
    };
    let rename = |from: &str, to: &str| {
        for split in ["train", "val"] {
            let folder = root.join(split);
            std::fs::rename(folder.join(from), folder.join(to)).expect("renamed");
        }
    };
    let refused = |lists: &str| {
        let message = failure(resume(), 1);
        let said = format!("no longer has the classes that the run started with; {lists}");
        assert!(message.ends_with(&said), "{message}");
    };
    rename("b", "d");
    refused("new: d; missing: b");
    rename("d", "b");
    tree(&root, &[("e", 1), ("f", 1)]);
    refused("new: e, f");
    for split in ["train", "val"] {
        for class in ["e", "f", "c"] {
            std::fs::remove_dir_all(root.join(split).join(class)).expect("removed");
        }
    }
    refused("missing: c");
    tree(&root, &[("c", 5)]);
    let output = resume().output().expect("started");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).expect("text");
    let said = "it started with 12 training images, now there are 13";
    assert!(
        stderr
            .lines()
            .last()
            .is_some_and(|line| line.ends_with(said)),
        "{stderr}"
    );
    for split in ["train", "val"] {
        std::fs::remove_file(root.join(split).join("c/4.png")).expect("removed");
    }
    resume().assert().success();
}
