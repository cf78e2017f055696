//! Weights inside of the program, and checkpoints in half precision for them.

use std::path::{Path, PathBuf};

use candle_core::DType;
use candle_mish::checkpoint;
use candle_mish_models::embedded;

use crate::{failure, json, mish, success};

/// The weights of a short training of a small network with batch norm.
fn weights(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    let mut command = mish(&["train", "mlp_2x8", "--dataset", "synthetic", "--output"]);
    command.arg(&run);
    command.args([
        "--limit-train",
        "64",
        "--limit-test",
        "40",
        "--batch-size",
        "32",
    ]);
    command.args(["--epochs", "1", "--threads", "1"]);
    command.assert().success();
    run.join("best.safetensors")
}

#[test]
fn a_network_without_embedded_weights_says_so() {
    let error = failure(
        mish(&[
            "eval",
            "mlp_2x8",
            "--pretrained",
            "embedded",
            "--dataset",
            "synthetic",
        ]),
        2,
    );
    let listed = json(mish(&["models", "--embedded"]));
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), embedded().count());
    let (text, _) = success(mish(&["models", "--embedded"]));
    if listed.is_empty() {
        assert!(
            error.ends_with("this build has no embedded weights"),
            "{error}"
        );
        assert_eq!(text, "This build has no embedded weights.\n");
    } else {
        assert!(
            error.contains("mlp_2x8 has no embedded weights; there are "),
            "{error}"
        );
        assert!(
            text.contains(embedded().next().expect("a row").sha256),
            "{text}"
        );
    }
}

/// Each row works in a command, with its own activation.
#[test]
fn embedded_weights_are_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.safetensors");
    for row in embedded() {
        let activation = row.activation.to_string();
        let mut command = mish(&["export", row.model, "--pretrained", "embedded"]);
        command.args(["--activation", &activation, "--out"]);
        command.arg(&out);
        success(command);
        let file = checkpoint::read(&out).expect("weights");
        assert_eq!(file.metadata["activation"], activation);
        assert_eq!(file.metadata["num_classes"], row.num_classes.to_string());
    }
}

/// The accuracy of each row, on the real test images.
#[test]
fn embedded_weights_have_their_accuracy() {
    let Some(data) = std::env::var_os("CIFAR100_DIR") else {
        eprintln!("skipped: CIFAR100_DIR is not set");
        return;
    };
    for row in embedded().filter(|row| row.dataset == "cifar100") {
        let activation = row.activation.to_string();
        let mut command = mish(&["eval", row.model, "--pretrained", "embedded"]);
        command.args(["--activation", &activation, "--dataset", "cifar100"]);
        command.arg("--data-dir").arg(&data);
        let evaluation = json(command);
        let top1 = evaluation["top1"].as_f64().expect("a share");
        // Another processor may round an image or two to another class.
        assert!((top1 - row.top1).abs() < 5e-4, "{top1}, not {}", row.top1);
    }
}

#[test]
fn a_checkpoint_is_exported_in_half_precision() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let out = folder.path().join("half.safetensors");
    let export = |flags: &[&str]| {
        let mut command = mish(&["export", "--weights"]);
        command.arg(&weights).arg("--out").arg(&out).args(flags);
        command
    };
    let answer = json(export(&["--dtype", "f16"]));
    assert_eq!(answer["dtype"], "f16");
    let [half, whole] = [&out, &weights].map(|path| checkpoint::read(path).expect("weights"));
    assert_eq!(half.tensors.len(), whole.tensors.len());
    for (name, tensor) in &half.tensors {
        let own = &whole.tensors[name];
        let expected = if own.dtype().is_float() {
            DType::F16
        } else {
            own.dtype()
        };
        assert_eq!(tensor.dtype(), expected, "{name}");
    }
    for key in [
        "model",
        "activation",
        "classes",
        "dataset",
        "mean",
        "std",
        "image_size",
    ] {
        assert_eq!(half.metadata[key], whole.metadata[key], "{key}");
    }
    let eval = |path: &Path| {
        let mut command = mish(&["eval", "--dataset", "synthetic", "--limit-test", "40"]);
        command.arg("--weights").arg(path);
        json(command)["loss"].as_f64().expect("a loss")
    };
    let (rounded, own) = (eval(&out), eval(&weights));
    assert!((rounded - own).abs() < 1e-2 * own, "{rounded} and {own}");
    assert!(rounded != own);
    let onnx = folder.path().join("a.onnx");
    let mut command = mish(&["export", "--dtype", "f16", "--weights"]);
    command.arg(&weights).arg("--out").arg(&onnx);
    let error = failure(command, 2);
    assert!(
        error.contains("--dtype needs --format safetensors"),
        "{error}"
    );
}

#[test]
fn a_value_beyond_the_range_of_f16_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let mut large = checkpoint::read(&weights).expect("weights");
    let variance = large
        .tensors
        .get_mut("layers.0.bn.running_var")
        .expect("a variance");
    *variance = (&*variance + 1e5).expect("a sum");
    let path = folder.path().join("large.safetensors");
    let tensors: Vec<_> = large.tensors.into_iter().collect();
    checkpoint::write(&path, &tensors, &large.metadata).expect("written");
    let out = folder.path().join("half.safetensors");
    let mut command = mish(&["export", "--dtype", "f16", "--weights"]);
    command.arg(&path).arg("--out").arg(&out);
    let error = failure(command, 1);
    assert!(
        error.contains("layers.0.bn.running_var has values that f16 cannot hold"),
        "{error}"
    );
    assert!(!out.exists());
}
