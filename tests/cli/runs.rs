//! Training, evaluating and resuming.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{SMALL, failure, json, mish, program, success, train};

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn a_run_leaves_its_files_and_eval_repeats_its_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let summary = json(train(&run, &[]));
    let number = |field: &str| summary[field].as_f64().unwrap_or_else(|| panic!("{field}"));
    assert_eq!(summary["model"], "resnet20");
    assert_eq!(summary["activation"], "mish");
    assert_eq!(summary["dataset"], "synthetic");
    assert_eq!(
        (number("seed"), number("epochs"), number("threads")),
        (0.0, 2.0, 2.0)
    );
    for field in ["best_top1", "final_top1", "final_top5"] {
        assert!((0.0..=1.0).contains(&number(field)), "{field}");
    }
    for field in ["params", "train_images_per_second", "seconds", "final_loss"] {
        assert!(number(field) > 0.0, "{field}");
    }
    // 2 epochs of 96 images, 40,818,944 multiply-adds each, forward and backward.
    assert_eq!(number("train_flops"), 6.0 * 2.0 * 96.0 * 40_818_944.0);
    assert!(summary["version"].is_string());
    let saved: Value = serde_json::from_slice(&read(&run, "summary.json")).expect("JSON");
    assert_eq!(saved, summary);
    let metrics = String::from_utf8(read(&run, "metrics.jsonl")).expect("text");
    assert_eq!(metrics.lines().count(), 2);
    assert!(read(&run, "curve.svg").starts_with(b"<svg"));
    let config = String::from_utf8(read(&run, "config.toml")).expect("text");
    assert!(config.contains("dataset = \"synthetic\""), "{config}");

    for (file, top1) in [("best", "best_top1"), ("last", "final_top1")] {
        let weights = run.join(format!("{file}.safetensors"));
        let mut command = mish(&["eval", "--weights"]);
        command.arg(&weights);
        let evaluation = json(command);
        assert_eq!(evaluation["top1"], summary[top1]);
        assert_eq!(evaluation["images"], 40);
        if file == "last" {
            assert_eq!(evaluation["loss"], summary["final_loss"]);
        }
    }
}

#[test]
fn small_images_and_frozen_layers_take_fewer_operations() {
    let folder = tempfile::tempdir().expect("a folder");
    let flops = |name: &str, flags: &[&str]| {
        let summary = json(train(&folder.path().join(name), flags));
        summary["train_flops"].as_f64().expect("a number")
    };
    // The classifier has 64 x 100 weights.
    let convolutions = 40_818_944.0 - 6400.0;
    let small = flops("small", &["--train-img-sizes", "0:16,1:32"]);
    assert_eq!(small, 6.0 * 96.0 * (1.25 * convolutions + 2.0 * 6400.0));
    let weights = folder.path().join("small/last.safetensors");
    let weights = weights.to_str().expect("UTF-8");
    let frozen = flops("frozen", &["--freeze-backbone", "--pretrained", weights]);
    assert_eq!(frozen, 2.0 * 2.0 * 96.0 * 40_818_944.0);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second, other] = ["first", "second", "other"].map(|name| folder.path().join(name));
    train(&first, &[]).assert().success();
    train(&second, &[]).assert().success();
    train(&other, &["--seed", "1"]).assert().success();
    for file in ["best.safetensors", "last.safetensors"] {
        assert!(read(&first, file) == read(&second, file), "{file} differs");
        assert!(
            read(&first, file) != read(&other, file),
            "{file} is the same"
        );
    }
}

#[test]
fn a_family_has_its_own_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let [run, same] = ["run", "same"].map(|name| folder.path().join(name));
    let mut command = program("train-resnet", SMALL);
    command
        .arg("--output")
        .arg(&run)
        .args(["--activation", "relu"]);
    assert_eq!(json(command)["activation"], "relu");
    train(&same, &["--activation", "relu"]).assert().success();
    assert!(read(&run, "last.safetensors") == read(&same, "last.safetensors"));
}

#[test]
fn without_output_runs_are_numbered() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in [1, 2] {
        let mut command = mish(&["train", "resnet20", "--activation", "leaky_relu:0.1"]);
        command.args(SMALL).args(["--epochs", "1"]);
        command.current_dir(folder.path()).assert().success();
        let run = folder
            .path()
            .join(format!("runs/resnet20-leaky_relu-0.1-{number}"));
        assert!(run.join("summary.json").is_file(), "{}", run.display());
    }
}

/// Sends SIGINT, the signal of Ctrl-C.
#[cfg(unix)]
fn interrupt(process: u32) {
    let kill = Command::new("kill")
        .args(["-INT", &process.to_string()])
        .status();
    assert!(kill.expect("kill").success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_exits_with_130_and_resumes_exactly() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, stopped] = ["straight", "stopped"].map(|name| folder.path().join(name));
    let long = ["--epochs", "6"];
    train(&straight, &long).assert().success();

    let mut process = Command::new(assert_cmd::cargo::cargo_bin("mish"))
        .args(["train", "resnet20", "--output"])
        .arg(&stopped)
        .args(SMALL)
        .args(long)
        .env("HF_HUB_OFFLINE", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(process.stderr.take().expect("stderr")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    let start: Vec<String> = lines
        .by_ref()
        .take_while(|line| !line.contains("epoch 1/6"))
        .collect();
    // The settings of the run come first.
    for part in ["resnet20 with mish", "96 training", "6 epochs", "2 threads"] {
        assert!(start.iter().any(|line| line.contains(part)), "{start:?}");
    }
    assert!(
        start.last().is_some_and(|line| line.contains("stopped")),
        "{start:?}"
    );
    interrupt(process.id());
    let rest: Vec<String> = lines.collect();
    assert_eq!(process.wait().expect("ended").code(), Some(130), "{rest:?}");
    assert!(
        rest.last().is_some_and(|line| line.contains("--resume")),
        "{rest:?}"
    );
    assert!(!stopped.join("summary.json").exists());

    // A flag that contradicts the run is refused, one that repeats it is not.
    let resume = |flags: &[&str]| {
        let mut command = mish(&["train", "--resume"]);
        command.arg(&stopped).args(flags);
        command
    };
    for (flags, said) in [
        (["--activation", "relu"], "activation = \"mish\""),
        (["--lr", "0.01"], "lr = 0.3"),
        (["--seed", "3"], "seed = 0"),
        (["--limit-train", "64"], "limit_train = 96"),
        (["--dataset", "cifar100"], "dataset = \"synthetic\""),
        (["--num-classes", "101"], "num_classes = none"),
    ] {
        let message = failure(resume(&flags), 2);
        assert!(message.contains(said), "{message}");
    }
    let message = failure(resume(&["--output", "elsewhere"]), 2);
    assert!(message.contains("--output"), "{message}");
    let mut other = mish(&["train", "resnet32", "--resume"]);
    other.arg(&stopped);
    let message = failure(other, 2);
    assert!(message.contains("model = \"resnet20\""), "{message}");

    let summary = json(resume(&["--epochs", "6", "--threads", "2"]));
    for file in ["best.safetensors", "last.safetensors"] {
        assert!(
            read(&straight, file) == read(&stopped, file),
            "{file} differs"
        );
    }
    let expected: Value = serde_json::from_slice(&read(&straight, "summary.json")).expect("JSON");
    for field in [
        "best_top1",
        "final_top1",
        "final_top5",
        "final_loss",
        "best_epoch",
    ] {
        assert_eq!(summary[field], expected[field], "{field}");
    }
    // A finished run prints its result again.
    assert_eq!(json(resume(&[]))["final_top1"], expected["final_top1"]);
}

#[test]
fn a_set_smaller_than_a_batch_is_one_smaller_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let mut command = mish(&[
        "train",
        "resnet20",
        "--dataset",
        "synthetic",
        "--epochs",
        "1",
    ]);
    command.args(["--limit-train", "20", "--limit-test", "10", "--output"]);
    command.arg(&run);
    let (_, stderr) = success(command);
    let training = "1 epoch of 1 step, 20 images per step";
    assert!(stderr.contains(training), "{stderr}");
    assert!(run.join("last.safetensors").is_file());
}
