//! `mish average`, and test-time augmentation.

use std::collections::HashMap;
use std::path::Path;

use assert_cmd::Command;
use candle_core::Tensor;
use candle_mish::checkpoint;

use crate::{failure, json, mish};

fn train(folder: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "mlp_2x8", "--dataset", "synthetic", "--output"]);
    command.arg(folder);
    command.args(["--limit-train", "256", "--limit-test", "64"]);
    command.args(["--batch-size", "32", "--threads", "1", "--epochs", "2"]);
    command.args(flags);
    command
}

fn values(tensors: &HashMap<String, Tensor>, name: &str) -> Vec<f32> {
    let flat = tensors[name].flatten_all().and_then(|t| t.to_vec1());
    flat.expect("f32")
}

#[test]
fn checkpoints_of_one_network_have_a_mean() {
    let folder = tempfile::tempdir().expect("a folder");
    let runs = ["0", "1", "2"].map(|seed| {
        let run = folder.path().join(seed);
        train(&run, &["--seed", seed]).assert().success();
        run.join("last.safetensors")
    });
    let out = folder.path().join("mean.safetensors");
    let mut average = mish(&["average", "--output"]);
    average.arg(&out).args(&runs);
    let answer = json(average);
    assert_eq!(answer["averaged"].as_array().map(Vec::len), Some(3));
    let read = |path: &Path| checkpoint::read(path).expect("weights");
    let parts = runs.each_ref().map(|run| read(run));
    let mean = read(&out);
    for (name, tensor) in &mean.tensors {
        if !tensor.dtype().is_float() {
            continue;
        }
        let [a, b, c] = parts.each_ref().map(|part| values(&part.tensors, name));
        for (i, value) in values(&mean.tensors, name).into_iter().enumerate() {
            // f64 sums, rounded once.
            let sum = f64::from(a[i]) + f64::from(b[i]) + f64::from(c[i]);
            assert_eq!(value, (sum / 3.0) as f32, "{name}[{i}]");
        }
    }
    assert_eq!(mean.metadata["model"], "mlp_2x8");
    assert_eq!(mean.metadata["epoch"], "2");
    let averaged: Vec<String> =
        serde_json::from_str(&mean.metadata["averaged"]).expect("a list of files");
    assert_eq!(averaged.len(), 3);
    let mut eval = mish(&["eval", "--dataset", "synthetic", "--limit-test", "64"]);
    eval.arg("--weights").arg(&out);
    assert_eq!(json(eval)["images"], 64);

    // Other networks have no mean.
    let other = folder.path().join("other");
    train(&other, &["--activation", "relu"]).assert().success();
    let mut average = mish(&["average", "--output"]);
    average.arg(folder.path().join("none.safetensors"));
    average.arg(&runs[0]).arg(other.join("last.safetensors"));
    let error = failure(average, 1);
    assert!(error.contains("activation is relu, not mish"), "{error}");
    let mut average = mish(&["average", "--output"]);
    average.arg(&runs[0]).arg(&runs[0]).arg(&runs[1]);
    let error = failure(average, 2);
    assert!(error.contains("is one of the checkpoints"), "{error}");
    failure(mish(&["average", "one.safetensors", "--output", "x"]), 2);
}

#[test]
fn mirror_images_average_the_logits() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &[]).assert().success();
    let eval = |flags: &[&str]| {
        let mut command = mish(&["eval", "--threads", "1", "--weights"]);
        command.arg(run.join("last.safetensors")).args(flags);
        json(command)
    };
    let (plain, mirrored) = (eval(&[]), eval(&["--tta"]));
    assert!(plain.get("tta").is_none());
    assert_eq!(mirrored["tta"], true);
    assert_eq!(mirrored["images"], plain["images"]);
    assert_ne!(mirrored["loss"], plain["loss"]);
}
