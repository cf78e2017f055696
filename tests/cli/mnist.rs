//! Data sets of grey images: training, evaluation and what is recorded.

use std::path::Path;

use candle_mish::checkpoint::{self, Checkpoint};
use serde_json::Value;
use tempfile::TempDir;

use crate::predict::network;
use crate::{failure, json, mish, stderr_of};

/// IDX files of 12 training and 8 test images.
pub(crate) fn write(folder: &Path) {
    let file = |sizes: &[u32], data: Vec<u8>| {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        [bytes, data].concat()
    };
    for (split, count) in [("train", 12u32), ("t10k", 8)] {
        let pixels = (0..count * 784).map(|i| (i * 7 + i / 784 * 31) as u8);
        let images = file(&[count, 28, 28], pixels.collect());
        let labels = file(&[count], (0..count).map(|i| (i % 10) as u8).collect());
        std::fs::write(folder.join(format!("{split}-images-idx3-ubyte")), images).expect("written");
        std::fs::write(folder.join(format!("{split}-labels-idx1-ubyte")), labels).expect("written");
    }
}

/// Trains one epoch on the images in `data` and returns the configuration of the run.
fn train(run: &Path, data: &Path, dataset: &str, flags: &[&str]) -> (toml::Table, String) {
    train_model("resnet20", run, data, dataset, flags)
}

fn train_model(
    model: &str,
    run: &Path,
    data: &Path,
    dataset: &str,
    flags: &[&str],
) -> (toml::Table, String) {
    let mut command = mish(&["train", model, "--epochs", "1", "--threads", "2"]);
    command.args(["--dataset", dataset, "--data-dir"]).arg(data);
    command.arg("--output").arg(run).args(flags);
    let stderr = stderr_of(command);
    let config = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    (config.parse().expect("TOML"), stderr)
}

/// Evaluates the weights of a run, with more flags.
fn evaluate(run: &Path, flags: &[&str]) -> Value {
    let mut command = mish(&["eval", "--weights"]);
    command.arg(run.join("last.safetensors")).args(flags);
    json(command)
}

#[test]
fn mnist_trains_in_grey_and_records_its_border() {
    let (data, runs) = (
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    );
    write(data.path());
    let run = runs.path().join("run");
    let (config, stderr) = train(&run, data.path(), "mnist", &[]);
    // All 12 images are fewer than the batch size, so that they are one batch.
    assert!(
        stderr.contains("1 epoch of 1 step, 12 images per step"),
        "{stderr}"
    );
    assert!(stderr.contains("10 classes"), "{stderr}");
    assert_eq!(config["in_chans"].as_integer(), Some(1));
    assert_eq!(config["data"]["dataset"].as_str(), Some("mnist"));
    assert_eq!(config["data"]["pad"].as_integer(), Some(2));
    assert_eq!(config["recipe"]["hflip"].as_float(), Some(0.0));
    let header = checkpoint::read(&run.join("last.safetensors"))
        .expect("weights")
        .metadata;
    assert_eq!((&*header["in_chans"], &*header["image_size"]), ("1", "32"));
    assert_eq!(header["dataset"], "mnist");
    let summary = std::fs::read_to_string(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let answer = evaluate(&run, &[]);
    assert_eq!(answer["top1"], summary["final_top1"]);
    assert_eq!(answer["loss"], summary["final_loss"]);
}

#[test]
fn the_folder_of_a_variable_is_remembered() {
    let (data, runs) = (
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    );
    write(data.path());
    let run = runs.path().join("run");
    let mut command = mish(&["train", "resnet20", "--epochs", "1", "--threads", "2"]);
    command.args(["--dataset", "mnist", "--output"]).arg(&run);
    command.env("MNIST_DIR", data.path());
    stderr_of(command);
    let summary = std::fs::read_to_string(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!(evaluate(&run, &[])["loss"], summary["final_loss"]);
    // Without it, the message names the option.
    drop(data);
    let mut command = mish(&["eval", "--weights"]);
    command.arg(run.join("last.safetensors"));
    command.env("HF_HOME", runs.path().join("empty"));
    let error = failure(command, 1);
    let said = "name its folder with --data-dir";
    assert!(error.ends_with(said), "{error}");
}

#[test]
fn other_classes_are_no_class_folders() {
    let data = TempDir::new().expect("a folder");
    write(data.path());
    let (weights, _) = network(data.path());
    let Checkpoint {
        tensors,
        mut metadata,
        ..
    } = checkpoint::read(&weights).expect("weights");
    metadata.insert("dataset".to_string(), "cifar100".to_string());
    let tensors: Vec<_> = tensors.into_iter().collect();
    checkpoint::write(&weights, &tensors, &metadata).expect("written");
    let eval = |flags: &[&str]| {
        let mut command = mish(&["eval", "--dataset", "mnist", "--weights"]);
        command.arg(&weights);
        command.arg("--data-dir").arg(data.path()).args(flags);
        let output = command.output().expect("started");
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).expect("text");
        // The small data set is warned of first.
        stderr.lines().last().unwrap_or_default().to_string()
    };
    let said = "error: the network was trained on cifar100; mnist shares none of its classes";
    assert_eq!(eval(&[]), said);
    assert_eq!(eval(&["--ignore-unknown-classes"]), said);
}

#[test]
fn channels_border_and_flips_are_options() {
    let (data, runs) = (
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    );
    write(data.path());
    let run = runs.path().join("run");
    let flags = ["--in-chans", "3", "--pad", "0", "--hflip", "0.5"];
    let (config, _) = train(&run, data.path(), "fashion_mnist", &flags);
    assert_eq!(config["in_chans"].as_integer(), Some(3));
    assert_eq!(config["data"]["dataset"].as_str(), Some("fashion-mnist"));
    assert_eq!(config["data"]["pad"].as_integer(), Some(0));
    assert_eq!(config["recipe"]["hflip"].as_float(), Some(0.5));
    let header = checkpoint::read(&run.join("last.safetensors"))
        .expect("weights")
        .metadata;
    assert_eq!((&*header["in_chans"], &*header["image_size"]), ("3", "28"));
    let classes: Vec<String> = serde_json::from_str(&header["classes"]).expect("JSON");
    assert_eq!(classes[9], "Ankle boot");
    // The run's border, with other images.
    let folder = data.path().to_str().expect("text");
    let own = evaluate(&run, &[]);
    let other = evaluate(&run, &["--data-dir", folder, "--pad", "0"]);
    assert_eq!(own["loss"], other["loss"]);
    // Without the run's folder, the image size in the header says the border.
    let moved = TempDir::new().expect("a folder");
    let alone = moved.path().join("last.safetensors");
    std::fs::copy(run.join("last.safetensors"), &alone).expect("copied");
    let from_header = evaluate(moved.path(), &["--data-dir", folder, "--batch-size", "12"]);
    assert_eq!(own["loss"], from_header["loss"]);
    let wider = evaluate(&run, &["--pad", "3"]);
    assert_ne!(own["loss"], wider["loss"]);
    // The synthetic set has no border.
    let synthetic = ["--dataset", "synthetic", "--limit-test", "4", "--dry-run"];
    let mut command = mish(&["train", "resnet20"]);
    command.args(synthetic);
    assert!(json(command)["data"]["pad"].is_null());
    let error = failure(
        mish(&["train", "resnet20", "--dataset", "cifar10", "--pad", "2"]),
        1,
    );
    assert!(error.contains("pad = 2: cifar10 is not padded"), "{error}");
}

/// A network with a dense layer over pixels takes the size of the images that it is trained on.
#[test]
fn a_network_of_one_size_takes_that_of_the_images() {
    let (data, runs) = (
        TempDir::new().expect("a folder"),
        TempDir::new().expect("a folder"),
    );
    write(data.path());
    for (pad, size) in [("0", Some(28)), ("2", None)] {
        let run = runs.path().join(pad);
        let flags = ["--pad", pad];
        let (config, _) = train_model("conv2_mlp_2x8", &run, data.path(), "mnist", &flags);
        let recorded = config.get("img_size").and_then(toml::Value::as_integer);
        assert_eq!(recorded, size, "pad {pad}");
        let header = checkpoint::read(&run.join("last.safetensors"))
            .expect("weights")
            .metadata;
        let text = size.map(|size| size.to_string());
        assert_eq!(header.get("img_size"), text.as_ref(), "pad {pad}");
        let summary = std::fs::read_to_string(run.join("summary.json")).expect("a summary");
        let summary: Value = serde_json::from_str(&summary).expect("JSON");
        assert_eq!(
            evaluate(&run, &[])["loss"],
            summary["final_loss"],
            "pad {pad}"
        );
    }
    // The weights of one size do not take images of another.
    let run = runs.path().join("0");
    let mut command = mish(&["eval", "--pad", "2", "--weights"]);
    command.arg(run.join("last.safetensors"));
    // The small data set is warned of first.
    let output = command.output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let error = stderr.lines().last().unwrap_or_default();
    assert!(error.contains("takes 28x28 images"), "{stderr}");
    let mut command = mish(&["models", "conv2_mlp_2x8", "--img-size", "28"]);
    command.arg("--num-classes=10");
    let answer = json(command);
    // 20 and 50 kernels over colour images, 5000 flattened values.
    let convolutions = 20 * 75 * 24 * 24 + 50 * 500 * 20 * 20;
    let products = convolutions + 5000 * 8 + 8 * 8 + 8 * 10;
    assert_eq!(answer["multiply_adds"].as_u64(), Some(products));
}

#[test]
fn damaged_files_are_one_line() {
    let data = TempDir::new().expect("a folder");
    write(data.path());
    let images = data.path().join("train-images-idx3-ubyte");
    let bytes = std::fs::read(&images).expect("bytes");
    std::fs::write(&images, &bytes[..1000]).expect("written");
    let mut command = mish(&["train", "resnet20", "--dataset", "mnist", "--data-dir"]);
    command.arg(data.path());
    let error = failure(command, 1);
    let says = "train-images-idx3-ubyte: 984 bytes of data where the header announces 12 x 28 x 28";
    assert!(error.contains(says), "{error}");
}
