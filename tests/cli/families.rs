//! Every family trains from its binary, by the recipe of its networks.

use std::collections::BTreeSet;

use candle_mish_models::{Entry, entries};
use serde_json::Value;

use crate::{mish, program};

/// Networks that are quick to train, and the quickest of each family.
fn trained() -> impl Iterator<Item = &'static Entry> {
    let cost = |entry: &&Entry| entry.cifar.multiply_adds;
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    let quickest = families.into_iter().filter_map(|family| {
        let members = entries().filter(|entry| entry.family == family);
        members.min_by_key(cost)
    });
    let quick = entries().filter(|entry| cost(entry) < 100_000_000);
    let names: BTreeSet<&str> = quickest.chain(quick).map(|entry| entry.name).collect();
    entries().filter(move |entry| names.contains(entry.name))
}

/// The images of a batch.
const BATCH: usize = 8;

/// The rate of the network's recipe, which for SGD is in proportion to the batch (Goyal et al.,
/// "Accurate, Large Minibatch SGD", 2017).
fn rate(entry: &Entry) -> f64 {
    let output = mish(&["train", entry.name, "--dry-run", "--json"]).output();
    let config: Value = serde_json::from_slice(&output.expect("started").stdout).expect("JSON");
    let recipe = &config["recipe"];
    let number = |field: &str| recipe[field].as_f64().expect("a number");
    match recipe["opt"].as_str() {
        Some("sgd") => number("lr") * BATCH as f64 / number("batch_size"),
        _ => number("lr"),
    }
}

/// The last epoch of a training on a few images of as many classes.
fn last_epoch(entry: &Entry) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    // Few images for networks that take long for each.
    let slow = entry.cifar.multiply_adds > 500_000_000;
    let (images, epochs) = if slow { ("8", "8") } else { ("16", "16") };
    let mut command = mish(&["train", entry.name, "--dataset", "synthetic", "--output"]);
    command
        .arg(&run)
        .args(["--limit-train", images, "--limit-test", "8"])
        .args([
            "--batch-size",
            &BATCH.to_string(),
            "--lr",
            &rate(entry).to_string(),
        ])
        .args(["--epochs", epochs, "--threads", "2"]);
    command.assert().success();
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let last = metrics.lines().last().expect("an epoch");
    serde_json::from_str(last).expect("JSON")
}

/// By the recipe that its network has, the loss comes well below the ln(100) = 4.6 of guessing;
/// that of capsules is another, so their accuracy on the training images counts.
#[test]
fn every_family_learns_the_synthetic_set() {
    for entry in trained() {
        let epoch = last_epoch(entry);
        let number = |field: &str| epoch[field].as_f64().unwrap_or(f64::NAN);
        let learned = if entry.recipe.contains("loss = 'margin'") {
            number("train_top1") > 0.1
        } else {
            number("train_loss") < 4.0
        };
        assert!(learned, "{}: {epoch}", entry.name);
    }
}

#[test]
fn every_family_has_a_program() {
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    for family in families {
        let name = format!("train-{family}");
        let mut command = program(&name, &["--dataset", "synthetic", "--dry-run", "--json"]);
        let output = command.output().expect("started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {stderr}");
        let config: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let model = config["model"].as_str().expect("a name");
        let entry = entries().find(|entry| entry.name == model);
        assert_eq!(entry.map(|entry| entry.family), Some(family), "{name}");
    }
}
