//! Continuing finished runs: more epochs, other threads, and what the run says about its best epoch.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

use crate::{failure, json, mish, stderr_of, success};

/// A training of an instant into `folder`, with more flags.
fn train(folder: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "mlp_2x8", "--dataset", "synthetic", "--output"]);
    command.arg(folder);
    command.args([
        "--limit-train",
        "256",
        "--limit-test",
        "64",
        "--batch-size",
        "32",
    ]);
    command.args(["--threads", "1"]).args(flags);
    command
}

fn resume(folder: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "--resume"]);
    command.arg(folder).args(flags);
    command
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn text(folder: &Path, file: &str) -> String {
    String::from_utf8(read(folder, file)).expect("text")
}

/// A JSON object without the values that depend on time.
fn timeless(object: &str) -> Value {
    let mut object: Value = serde_json::from_str(object).expect("JSON");
    let fields = object.as_object_mut().expect("an object");
    fields.retain(|name, _| !name.contains("second"));
    object
}

#[test]
fn a_finished_run_is_extended_to_the_files_of_a_longer_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let schedules: [&[&str]; 4] = [
        &["--sched", "plateau", "--patience-epochs", "0"],
        &["--sched", "constant"],
        &[
            "--sched",
            "step",
            "--decay-epochs",
            "1.5",
            "--warmup-epochs",
            "0.5",
        ],
        &[
            "--sched",
            "multistep",
            "--decay-milestones",
            "2,4",
            "--val-split",
            "0.25",
        ],
    ];
    for schedule in schedules {
        let name = schedule[1];
        let [straight, extended] =
            ["straight", "extended"].map(|kind| folder.path().join(format!("{kind}-{name}")));
        let flags = [schedule, &["--lr", "0.01", "--drop", "0.1", "--epochs"]].concat();
        let with = |epochs| [&flags[..], &[epochs]].concat();
        train(&straight, &with("5")).assert().success();
        train(&extended, &with("3")).assert().success();
        let same = ["--threads", "1"];
        let summary = json(resume(&extended, &[&same[..], &["--epochs", "5"]].concat()));
        assert_eq!(summary["epochs"], 5, "{name}");
        for file in [
            "best.safetensors",
            "last.safetensors",
            "curve.svg",
            "config.toml",
        ] {
            assert!(
                read(&straight, file) == read(&extended, file),
                "{name}: {file}"
            );
        }
        let lines = |run: &Path| -> Vec<Value> {
            text(run, "metrics.jsonl").lines().map(timeless).collect()
        };
        assert_eq!(lines(&straight), lines(&extended), "{name}");
        let [long, short] = [&straight, &extended].map(|run| timeless(&text(run, "summary.json")));
        assert_eq!(long, short, "{name}");
        // The run has its new number of epochs from now on.
        let again = json(resume(&extended, &same));
        assert_eq!(again["final_loss"], summary["final_loss"], "{name}");
    }
}

/// The command in the message works, and keeps everything but the rate and the number of epochs.
#[test]
fn a_schedule_over_all_epochs_offers_a_new_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = [
        "--epochs",
        "2",
        "--val-split",
        "0.25",
        "--opt",
        "adam",
        "--opt-betas",
        "0.8",
        "0.9",
        "--lr",
        "0.002",
        "--drop",
        "0.1",
        "--data-seed",
        "3",
        "--num-classes",
        "120",
    ];
    train(&run, &flags).assert().success();
    let config = text(&run, "config.toml");
    let message = failure(resume(&run, &["--epochs", "5", "--threads", "1"]), 2);
    let said = "the learning rates of onecycle depend on the number of epochs: a run of 2 epochs \
                cannot become one of 5";
    assert!(message.contains(said), "{message}");
    // Nothing has changed.
    assert_eq!(text(&run, "config.toml"), config);
    assert!(run.join("summary.json").is_file());

    let (_, command) = message
        .split_once("from its weights: mish ")
        .expect("a command");
    assert!(command.ends_with("--epochs 3"), "{command}");
    let mut next = mish(&command.split(' ').collect::<Vec<_>>());
    let new = folder.path().join("new");
    next.arg("--output").arg(&new).assert().success();
    let [mut before, mut after] =
        [config, text(&new, "config.toml")].map(|text| text.parse::<toml::Table>().expect("TOML"));
    for config in [&mut before, &mut after] {
        for key in ["pretrained", "mean", "std", "stem"] {
            config.remove(key);
        }
        let recipe = config["recipe"].as_table_mut().expect("a table");
        recipe.remove("epochs");
        recipe.remove("lr");
    }
    assert_eq!(before, after);
}

#[test]
fn a_run_cannot_have_fewer_epochs_than_it_has_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &["--epochs", "2", "--sched", "constant"])
        .assert()
        .success();
    let message = failure(resume(&run, &["--epochs", "1", "--threads", "1"]), 2);
    let said = "epochs is 1, but the run has already taken 16 steps; an epoch has 8";
    assert!(message.contains(said), "{message}");
    assert_eq!(json(resume(&run, &["--epochs", "2"]))["epochs"], 2);
}

#[test]
fn another_number_of_threads_is_reported_if_the_run_continues() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--epochs", "1", "--sched", "constant", "--lr", "0.01"];
    train(&run, &flags).assert().success();
    let stderr = stderr_of(resume(&run, &["--threads", "2"]));
    assert!(!stderr.contains("WARN"), "{stderr}");
    let stderr = stderr_of(resume(&run, &["--threads", "1", "--epochs", "2"]));
    assert!(!stderr.contains("WARN"), "{stderr}");
    let stderr = stderr_of(resume(&run, &["--threads", "2", "--epochs", "3"]));
    let said = "the run used 1 thread, now it uses 2";
    assert!(
        stderr.contains(said) && stderr.contains("--threads 1"),
        "{stderr}"
    );
    // An error comes alone.
    let fewer = failure(resume(&run, &["--threads", "1", "--epochs", "1"]), 2);
    assert!(fewer.contains("epochs is 1"), "{fewer}");
}

#[test]
fn a_finished_run_says_so_and_prints_its_result_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let (first, _) = success(train(&run, &["--epochs", "2"]));
    let before = read(&run, "state.safetensors");
    let (again, stderr) = success(resume(&run, &["--threads", "2"]));
    assert_eq!(again, first);
    let said = format!("{} is finished (2 of 2 epochs)", run.display());
    assert_eq!(stderr.trim_end(), said);
    assert!(read(&run, "state.safetensors") == before);
    let summary: Value = serde_json::from_slice(&read(&run, "summary.json")).expect("JSON");
    assert_eq!(json(resume(&run, &[])), summary);
    // A lost report is made again.
    std::fs::remove_file(run.join("report.html")).expect("removed");
    success(resume(&run, &["--threads", "1"]));
    assert!(run.join("report.html").is_file());
}

#[test]
fn without_a_whole_state_the_weights_are_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &["--epochs", "2"]).assert().success();
    // As if the second epoch had not ended.
    std::fs::remove_file(run.join("summary.json")).expect("removed");
    let metrics = text(&run, "metrics.jsonl");
    let first = metrics.lines().next().expect("an epoch");
    std::fs::write(run.join("metrics.jsonl"), format!("{first}\n")).expect("written");
    for file in ["state.safetensors", "state.previous.safetensors"] {
        let bytes = read(&run, file);
        std::fs::write(run.join(file), &bytes[..bytes.len() / 2]).expect("written");
    }
    let message = failure(resume(&run, &[]), 1);
    let said = "state.safetensors is damaged";
    assert!(message.contains(said), "{message}");
    let (_, command) = message
        .split_once("from its weights: mish ")
        .expect("a command");
    assert!(command.ends_with("--epochs 1"), "{command}");
    let mut next = mish(&command.split(' ').collect::<Vec<_>>());
    next.arg("--output").arg(folder.path().join("new"));
    next.assert().success();
}

#[test]
fn a_run_says_which_images_chose_its_best_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, flags, set) in [
        ("without", &[][..], "test"),
        ("with", &["--val-split", "0.25"], "validation"),
    ] {
        let run = folder.path().join(name);
        let mut command = train(&run, flags);
        command.args(["--epochs", "2"]);
        let (stdout, stderr) = success(command);
        assert!(
            stdout.contains(&format!("chosen on the {set} images")),
            "{stdout}"
        );
        assert!(stderr.contains(&format!("{set} loss")), "{stderr}");
        let summary: Value = serde_json::from_slice(&read(&run, "summary.json")).expect("JSON");
        assert_eq!(summary["best_chosen_on"], set);
        assert!(text(&run, "curve.svg").contains(&format!("{set} top-1")));
    }
}

#[test]
fn a_run_that_cannot_continue_keeps_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, run) = (folder.path().join("tree"), folder.path().join("run"));
    crate::folder::tree(&root);
    let mut train = mish(&["train", "mlp_2x8", "--img-size", "32", "--epochs", "1"]);
    train.args(["--sched", "constant", "--batch-size", "8", "--threads", "1"]);
    train.args(["--dataset", &crate::folder::dataset(&root), "--output"]);
    train.arg(&run).assert().success();
    let files =
        || ["config.toml", "summary.json", "state.safetensors"].map(|file| read(&run, file));
    let before = files();
    std::fs::remove_file(root.join("train/left/3.jpg")).expect("removed");
    let mut longer = resume(&run, &["--epochs", "5", "--threads", "1"]);
    let stderr = longer.assert().code(1).get_output().stderr.clone();
    let message = String::from_utf8(stderr).expect("text");
    assert!(
        message.contains("cannot continue with other images"),
        "{message}"
    );
    assert!(files() == before);
}
