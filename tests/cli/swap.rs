//! Swapping the activation of trained weights.

use std::path::Path;

use serde_json::Value;

use crate::{failure, json, mish, train};

/// Weights of a short training, in its run folder.
fn weights(folder: &Path) -> std::path::PathBuf {
    let run = folder.join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    run.join("last.safetensors")
}

fn swap(weights: &Path, flags: &[&str]) -> assert_cmd::Command {
    let mut command = mish(&["swap", "--weights"]);
    command.arg(weights).args(flags);
    command
}

/// The row of an activation at a stage.
fn row<'a>(report: &'a Value, activation: &str, stage: &str) -> &'a Value {
    let rows = report["rows"].as_array().expect("rows");
    let found = rows
        .iter()
        .find(|row| row["activation"] == activation && row["stage"] == stage);
    &found.unwrap_or_else(|| panic!("no {activation} {stage} in {rows:?}"))["comparison"]
}

#[test]
fn a_swap_is_measured_in_every_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let page = folder.path().join("page.html");
    let flags = [
        "--to",
        "mish,relu,prelu,relu",
        "--recalibrate",
        "3",
        "--fine-tune-steps",
        "4",
        "--per-layer",
        "16",
        "--robustness",
        "16",
        "--noise",
        "0.1",
        "--fgsm",
        "0,0.05",
        "--html",
    ];
    let mut command = swap(&weights, &flags);
    command.arg(&page);
    let report = json(command);
    assert_eq!(
        (&report["from"], &report["model"]),
        (&"mish".into(), &"resnet20".into())
    );
    let original = row(&report, "mish", "original");
    assert_eq!(original["images"], 40);
    assert_eq!(original["agreement"]["value"], 1.0);
    // Three activations: mish, the control, is always measured, and relu counts once.
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(9));

    let number = |value: &Value| value.as_f64().expect("a number");
    let relu = row(&report, "relu", "zero_shot");
    assert!(number(&relu["logit_error"]["value"]) > 0.01, "{relu}");
    assert!(number(&relu["divergence"]["value"]) > 0.0);
    for key in [
        "top1",
        "top5",
        "loss",
        "calibration_error",
        "agreement",
        "divergence",
        "logit_error",
    ] {
        let (low, value, high) = (&relu[key]["low"], &relu[key]["value"], &relu[key]["high"]);
        assert!(
            number(low) <= number(value) && number(value) <= number(high),
            "{key}"
        );
    }
    // After one epoch of three batches the running statistics do not match the weights.
    let (before, after) = (
        row(&report, "mish", "original"),
        row(&report, "mish", "recalibrated"),
    );
    assert!(number(&after["loss"]["value"]) < number(&before["loss"]["value"]));
    for activation in ["mish", "relu", "prelu"] {
        row(&report, activation, "fine_tuned");
    }
    for recovery in report["recovery"].as_array().expect("curves") {
        let steps = recovery["curve"].as_array().expect("points");
        assert_eq!(
            (&steps[0]["step"], &steps[steps.len() - 1]["step"]),
            (&0.into(), &4.into())
        );
    }

    // 19 layers and three stages, with each activation.
    let layers = report["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 2 * 22);
    let changed = |layer: &&Value| number(&layer["comparison"]["logit_error"]["value"]) > 0.0;
    let relu = layers.iter().filter(|layer| layer["activation"] == "relu");
    assert_eq!(relu.filter(changed).count(), 22);

    let perturbed: Vec<&Value> = report["robustness"]
        .as_array()
        .expect("perturbed images")
        .iter()
        .filter(|row| row["activation"] == "relu")
        .collect();
    let loss = |i: usize| number(&perturbed[i]["loss"]["value"]);
    assert_eq!(perturbed.len(), 4, "clean, noise and two attacks");
    assert!(
        (loss(2) - loss(0)).abs() < 1e-5,
        "an attack of strength 0 changes nothing"
    );
    assert!(loss(3) > loss(0), "an attack raises the loss");

    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("</html>"));
    for part in [
        "resnet20: mish swapped",
        "fine-tuned",
        "layer3.*",
        "<svg",
        "FGSM 0/255",
        "scope=\"row\"",
        "--fine-tune-steps 4",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("http"),
        "the page loads nothing from the web"
    );
}

#[test]
fn a_part_of_a_network_is_swapped_gradually() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let flags = [
        "--to",
        "relu",
        "--layers",
        "layer3*",
        "--recalibrate",
        "0",
        "--fine-tune-steps",
        "2",
        "--blend",
    ];
    let report = json(swap(&weights, &flags));
    let rows = report["rows"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row["stage"] != "recalibrated"));
    let curve = &report["recovery"][1]["curve"];
    // The blend starts with the old activation.
    let (start, original) = (
        &curve[0]["evaluation"]["loss"],
        row(&report, "mish", "original"),
    );
    let difference =
        start.as_f64().expect("a loss") - original["loss"]["value"].as_f64().expect("a loss");
    assert!(difference.abs() < 1e-5, "{difference}");
    let table = swap(&weights, &["--to", "relu", "--layers", "layer3*"])
        .output()
        .expect("started");
    let table = String::from_utf8(table.stdout).expect("text");
    for part in ["zero-shot", "logit error", "seed: 0", "layers: layer3*"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let said = |flags: &[&str], part: &str| {
        let error = failure(swap(&weights, flags), 2);
        assert!(error.contains(part), "{error}");
    };
    said(&["--to", "rellu"], "did you mean 'relu'");
    said(
        &["--to", "relu", "--layers", "layer9*"],
        "--layers layer9*: no mish layer has this path",
    );
    said(
        &["--to", "relu", "--robustness", "--noise", "2"],
        "'--noise <STRENGTHS>': must be a number from 0 to 1",
    );
    said(&["--to", "relu", "--noise", "0.1"], "--robustness");
    said(&["--to", "relu", "--blend"], "--blend needs");
    said(&["--to", "relu", "--lr", "0.1"], "--lr needs");
    said(
        &["--to", "mish"],
        "--to mish: the network already has this activation",
    );
    said(
        &["--to", "relu", "--fine-tune-epochs", "0"],
        "'--fine-tune-epochs <N>': must be a number greater than 0",
    );
    let error = failure(
        swap(&weights, &["--to", "relu", "--html", "no/such/page.html"]),
        1,
    );
    assert!(error.contains("--html no/such/page.html"), "{error}");
}

#[test]
fn weights_that_do_not_name_their_activation_need_it_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let bare = folder.path().join("bare.safetensors");
    let tensors = candle_core::safetensors::load(&weights, &candle_core::Device::Cpu);
    candle_core::safetensors::save(&tensors.expect("tensors"), &bare).expect("a file");
    let asked = |flags: &[&str]| {
        let mut command = mish(&["swap", "resnet20", "--dataset", "synthetic", "--weights"]);
        command
            .arg(&bare)
            .args(["--to", "relu", "--recalibrate", "0"]);
        command.args(["--limit-test", "40"]).args(flags);
        command
    };
    let error = failure(asked(&[]), 2);
    assert!(error.contains("name it with --activation"), "{error}");
    let report = json(asked(&["--activation", "mish"]));
    assert_eq!(report["from"], "mish");
}
