//! Files that version 0.1.0 wrote before its modules were reorganised still load and resume:
//! `tests/fixtures/run-0.1.0` is a run of `mish train mlp_2x8 --dataset synthetic --activation prelu
//! --limit-train 4096 --limit-test 64 --epochs 12 --batch-size 32 --threads 1 --drop 0.1 --seed 3`,
//! interrupted within epoch 7; `run-0.1.0-finished.safetensors` holds the weights with which it
//! ended after a resume.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{json, mish};

/// Top-1 and loss of the finished run on the 64 test images, as 0.1.0 reported them.
const FINAL: (f64, f64) = (0.109_375, 3.867_788);
/// Those of the interrupted run's best weights.
const BEST: (f64, f64) = (0.031_25, 4.606_657_380_450_588);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// Copies the interrupted run to `folder`.
fn interrupted_run(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    std::fs::create_dir(&run).expect("a new folder");
    let files = std::fs::read_dir(fixtures().join("run-0.1.0")).expect("the fixture");
    for file in files {
        let file = file.expect("an entry");
        std::fs::copy(file.path(), run.join(file.file_name())).expect("a copy");
    }
    run
}

fn assert_figures(measured: &Value, names: [&str; 2], (top1, loss): (f64, f64)) {
    assert_eq!(measured[names[0]], top1);
    let measured = measured[names[1]].as_f64().expect("a loss");
    assert!((measured - loss).abs() < 1e-4, "{measured} is not {loss}");
}

/// What `mish eval` measures of the interrupted run's best weights.
fn evaluation() -> Value {
    let mut command = mish(&["eval", "--dataset", "synthetic", "--limit-test", "64"]);
    let weights = fixtures().join("run-0.1.0/best.safetensors");
    command.args(["--threads", "1", "--weights"]).arg(weights);
    json(command)
}

#[test]
fn a_checkpoint_of_0_1_0_evaluates_as_before() {
    assert_figures(&evaluation(), ["top1", "loss"], BEST);
}

#[test]
fn a_run_of_0_1_0_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = interrupted_run(folder.path());
    let before = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let mut command = mish(&["train", "--threads", "1", "--resume"]);
    command.arg(&run);
    let summary = json(command);
    assert_eq!(summary["epochs"], 12);
    assert_eq!(summary["activation"], "prelu");

    let after = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    assert!(after.starts_with(&before));
    assert_eq!(after.lines().count(), 12);

    // Another instruction set or cache size changes the rounding, which training amplifies. Where
    // an evaluation repeats the loss to the last bit, the weights must repeat too.
    if evaluation()["loss"] == BEST.1 {
        assert_figures(&summary, ["final_top1", "final_loss"], FINAL);
        let expected = fixtures().join("run-0.1.0-finished.safetensors");
        let expected = std::fs::read(expected).expect("the fixture");
        let last = std::fs::read(run.join("last.safetensors")).expect("weights");
        assert!(last == expected, "the weights have other bits");
    } else {
        let loss = summary["final_loss"].as_f64().expect("a loss");
        assert!((loss - FINAL.1).abs() < 0.2, "{loss}");
    }
}
