//! Saved swaps, corrections, distillation and budgets on the command line.

use std::path::{Path, PathBuf};

use candle_mish::checkpoint;
use serde_json::Value;

use crate::{failure, json, mish, success};

/// Trains a perceptron of two layers with norms for an epoch.
fn train(folder: &Path) -> assert_cmd::Command {
    let mut command = mish(&["train", "mlp_2x8", "--dataset", "synthetic", "--output"]);
    command.arg(folder);
    command.args(["--limit-train", "256", "--limit-test", "64"]);
    command.args(["--batch-size", "32", "--threads", "1", "--epochs", "1"]);
    command
}

/// Weights of a short training, in its run folder.
fn weights(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    success(train(&run));
    run.join("last.safetensors")
}

fn swap(weights: &Path, flags: &[&str]) -> assert_cmd::Command {
    let mut command = mish(&["swap", "--weights"]);
    command.arg(weights).args(flags);
    command
}

fn rows(report: &Value) -> &Vec<Value> {
    report["rows"].as_array().expect("rows")
}

#[test]
fn saved_weights_repeat_the_figures_and_are_like_any_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let saved = folder.path().join("saved");
    let flags = [
        "--to",
        "prelu",
        "--layers",
        "layers.1*",
        "--recalibrate",
        "2",
        "--correct",
        "bias,scale-shift",
        "--correction-batches",
        "1",
        "--distill-steps",
        "2",
        "--fine-tune-steps",
        "2",
        "--seed",
        "3",
        "--save",
    ];
    let mut command = swap(&weights, &flags);
    command.arg(&saved);
    let report = json(command);
    // The original is not saved again.
    assert!(report["rows"][0]["file"].is_null());
    let files = rows(&report)
        .iter()
        .skip(1)
        .map(|row| (row, row["file"].as_str().expect("a file")));
    let files: Vec<(&Value, &str)> = files.collect();
    assert_eq!(files.len(), 5 + 6);
    let swapped = files.iter().filter(|(row, _)| row["activation"] == "prelu");
    for (row, file) in swapped {
        let evaluation = json(mish(&["eval", "--weights", file]));
        let comparison = &row["comparison"];
        for key in ["top1", "top5", "loss"] {
            assert_eq!(evaluation[key], comparison[key]["value"], "{file} {key}");
        }
        assert_eq!(evaluation["images"], comparison["images"]);
    }
    let tuned = saved.join("prelu-fine-tuned.safetensors");
    let header = checkpoint::read(&tuned).expect("weights").metadata;
    assert_eq!(header["activation"], "mish");
    assert_eq!(header["layer_activations"], "layers.1*=prelu");
    let record: Value = serde_json::from_str(&header["swap"]).expect("JSON");
    assert_eq!(
        (&record["from"], &record["to"]),
        (&"mish".into(), &"prelu".into())
    );
    assert_eq!(record["stage"], "fine-tuned");
    assert_eq!(record["setting"]["seed"], "3");
    assert!(
        record["setting"]["distillation"]
            .as_str()
            .expect("text")
            .contains("without labels")
    );

    // Export, prediction, a second swap and training.
    let onnx = folder.path().join("swapped.onnx");
    let mut export = mish(&["export", "--weights"]);
    export.arg(&tuned).arg("--out").arg(&onnx);
    success(export);
    assert!(onnx.is_file());
    let again = json(swap(&tuned, &["--to", "silu", "--recalibrate", "0"]));
    let (first, second) = (
        &again["rows"][0]["comparison"],
        files
            .iter()
            .find(|(_, file)| file.ends_with("prelu-fine-tuned.safetensors")),
    );
    let second = &second.expect("the fine-tuned row").0["comparison"];
    assert_eq!(first["loss"]["value"], second["loss"]["value"]);
    let run = folder.path().join("tuned");
    let mut command = train(&run);
    command.arg("--pretrained").arg(&tuned);
    success(command);
    let config = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    assert!(
        config.contains("layer_activations = \"layers.1*=prelu\""),
        "{config}"
    );
    let header = checkpoint::read(&run.join("last.safetensors"))
        .expect("weights")
        .metadata;
    assert_eq!(header["layer_activations"], "layers.1*=prelu");

    // The folder must be empty.
    let mut command = swap(&weights, &["--to", "relu", "--save"]);
    command.arg(&saved);
    assert!(failure(command, 2).contains("the folder is not empty"));
}

#[test]
fn calibration_takes_images_without_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let images = folder.path().join("images");
    std::fs::create_dir(&images).expect("a folder");
    for shade in 0..6u8 {
        // A gradient in a colour of its own, as PPM.
        let mut bytes = b"P6 40 36 255\n".to_vec();
        for i in 0..40 * 36u32 {
            bytes.extend([(i % 251) as u8, shade * 40, (i / 40 * 7 % 256) as u8]);
        }
        std::fs::write(images.join(format!("{shade}.ppm")), bytes).expect("an image");
    }
    let flags = |distill: &'static str| {
        [
            "--to",
            "relu",
            "--recalibrate",
            "1",
            "--correct",
            "layer-wise",
            "--correction-batches",
            "1",
            distill,
            "1",
            "--images",
        ]
    };
    let mut command = swap(&weights, &flags("--distill-steps"));
    command.arg(&images);
    let report = json(command);
    let stages: Vec<&str> = rows(&report)
        .iter()
        .filter_map(|row| row["stage"].as_str())
        .collect();
    let expected = ["recalibrated", "layer_wise", "distilled"];
    assert_eq!(
        stages,
        [&["original"], &expected[..], &["zero_shot"], &expected[..]].concat()
    );
    let setting = report["setting"].to_string();
    assert!(setting.contains("images in"), "{setting}");
    let mut command = swap(&weights, &["--to", "relu", "--images"]);
    command.arg(folder.path().join("none"));
    failure(command, 1);
}

#[test]
fn functions_are_not_fitted_to_learned_activations() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let mut command = train(&run);
    command.args(["--activation", "prelu"]);
    success(command);
    let weights = run.join("last.safetensors");
    for method in [&["--correct", "constants"][..], &["--approximate"]] {
        let error = failure(swap(&weights, &[&["--to", "elu"], method].concat()), 2);
        assert!(error.contains("without learned parameters"), "{error}");
    }
}

#[test]
fn findings_do_not_need_recalibration() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let flags = ["--to", "silu", "--recalibrate", "0"];
    let trained = ["--fine-tune-steps", "2", "--distill-steps", "2"];
    let (text, _) = success(swap(&weights, &[&flags[..], &trained].concat()));
    for stage in ["silu, distilled: top-1", "silu, fine-tuned: top-1"] {
        assert!(text.contains(stage), "{stage}: {text}");
    }
    assert!(text.contains("after the same treatment."), "{text}");
}

#[test]
fn a_budget_and_approximations_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let page = folder.path().join("page.html");
    let flags = [
        "--to",
        "leaky_relu",
        "--layers",
        "layers.*",
        "--recalibrate",
        "1",
        "--correct",
        "constants",
        "--budget",
        "100",
        "--budget-images",
        "10",
        "--budget-recalibrate",
        "0",
        "--approximate",
        "3",
        "--html",
    ];
    let mut command = swap(&weights, &flags);
    command.arg(&page);
    let (text, _) = success(command);
    for part in [
        "--layers layers.",
        "leaky_relu fits in 2 layers within a budget of 100 points",
        "3 straight lines",
        "fitted-constants",
        "Findings:",
        "Limits:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = std::fs::read_to_string(page).expect("a page");
    for part in [
        "Layers within a budget: leaky_relu",
        "Approximations of mish",
        "Limits",
        "x ≥",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn options_that_would_have_no_effect_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let said = |flags: &[&str], part: &str| {
        let error = failure(swap(&weights, flags), 2);
        assert!(error.contains(part), "{error}");
    };
    said(
        &["--to", "relu", "--temperature", "2"],
        "--temperature needs --distill",
    );
    said(
        &["--to", "relu", "--feature-weight", "1"],
        "--feature-weight needs --distill",
    );
    said(
        &["--to", "relu", "--correction-batches", "1"],
        "--correction-batches needs --correct",
    );
    said(&["--to", "relu", "--budget-images", "9"], "--budget");
    said(
        &["--to", "relu", "--correct", "constants"],
        "an activation with constants",
    );
    said(&["--to", "relu", "--correct", "magic"], "magic");
    said(
        &["--to", "relu", "--recalibrate", "0", "--images", "x"],
        "--images needs",
    );
    said(
        &["--to", "relu", "--distill", "--temperature", "0"],
        "'--temperature <T>': must be a number greater than 0",
    );
}
