//! Every family trains from its own program, with the recipe of its networks.

use std::collections::BTreeSet;

use candle_mish_models::{Entry, entries};
use serde_json::Value;

use crate::{mish, program};

/// Multiply-adds of a network that trains fast.
const QUICK: u64 = 100_000_000;
/// Multiply-adds of a network that trains so slowly that it gets fewer images.
const SLOW: u64 = 150_000_000;

/// Networks that train fast, and the fastest of each family.
fn trained() -> impl Iterator<Item = &'static Entry> {
    let cost = |entry: &&Entry| entry.cifar.multiply_adds;
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    let quickest = families.into_iter().filter_map(|family| {
        let members = entries().filter(|entry| entry.family == family);
        members.min_by_key(cost)
    });
    let quick = entries().filter(|entry| cost(entry) < QUICK);
    let names: BTreeSet<&str> = quickest.chain(quick).map(|entry| entry.name).collect();
    entries().filter(move |entry| names.contains(entry.name))
}

/// The images of a batch.
const BATCH: usize = 8;

/// The learning rate of the network's recipe. For SGD it scales with the batch (Goyal et al.,
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

/// The last epoch of a run on a few images, each of another class.
fn last_epoch(entry: &Entry) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let (images, epochs) = match entry.cifar.multiply_adds > SLOW {
        true => ("8", "8"),
        false => ("16", "16"),
    };
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
        .args(["--epochs", epochs, "--threads", "1"]);
    command.assert().success();
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let last = metrics.lines().last().expect("an epoch");
    serde_json::from_str(last).expect("JSON")
}

/// With the network's own recipe the loss falls well below ln(100) = 4.6, the loss of guessing.
/// Capsules have another loss, so that their accuracy on the training images counts.
fn learn(networks: impl Iterator<Item = &'static Entry>) {
    for entry in networks {
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

// Two tests, which run side by side: every other network each.

#[test]
fn every_family_learns_the_synthetic_set_even() {
    learn(trained().step_by(2));
}

#[test]
fn every_family_learns_the_synthetic_set_odd() {
    learn(trained().skip(1).step_by(2));
}

#[test]
fn every_family_has_a_program() {
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    for family in families {
        let name = format!("train-{}", family.replace('_', "-"));
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

#[test]
fn programs_are_named_in_kebab_case_and_help_names_the_program() {
    let name = "train-wide-resnet";
    let help = program(name, &["--help"]).output().expect("started");
    let help = String::from_utf8(help.stdout).expect("text");
    for part in [
        "Usage: train-wide-resnet",
        "wide_resnet family",
        "wrn10_2",
        "--lr <RATE>",
    ] {
        assert!(help.contains(part), "no '{part}' in: {help}");
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let programs = manifest["bin"].as_array().expect("programs");
    let families: BTreeSet<&str> = entries().map(|entry| entry.family).collect();
    assert_eq!(
        programs.len(),
        families.len() + 1,
        "one per family, and mish"
    );
    for program in programs {
        let name = program["name"].as_str().expect("a name");
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(kebab), "{name}");
    }
}
