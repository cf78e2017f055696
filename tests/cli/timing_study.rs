//! Studies that time activations. Their figures are not tested.

use std::path::Path;

use assert_cmd::Command;

use crate::{failure, json, mish, success};

const STUDY: &str = r#"
kind = "timing"
baseline = { activation = "relu" }
paired_by = ["round"]

[base]
shape = [2, 3, 4]

[axes]
activation = ["relu", "mish"]
pass = ["forward", "forward_backward"]
round = [0, 1, 2]
"#;

fn run(folder: &Path, text: &str, flags: &[&str]) -> Command {
    let file = folder.join("study.toml");
    std::fs::write(&file, text).expect("written");
    let mut command = mish(&["study", "run"]);
    command.arg(file).arg("--output").arg(folder.join("out"));
    command.args(flags);
    command
}

#[test]
fn activations_are_timed_and_compared_in_pairs() {
    let folder = tempfile::tempdir().expect("a folder");
    let one_thread = ["--threads", "1"];
    let study = json(run(folder.path(), STUDY, &one_thread));
    assert_eq!(study["metric"], "milliseconds");
    assert_eq!(study["finished"], 12);
    let cells = study["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 4);
    for cell in cells {
        assert_eq!(cell["n"], 3, "{cell}");
        assert!(cell["mean"].as_f64() > Some(0.0), "{cell}");
    }
    let comparisons = study["comparisons"].as_array().expect("comparisons");
    let pairs: Vec<_> = comparisons.iter().map(|it| &it["pairs"]).collect();
    assert_eq!(pairs, [3, 3]);
    let page = folder.path().join("page.html");
    let mut report = mish(&["study", "report"]);
    report.arg(folder.path().join("out"));
    report.arg("--html").arg(&page);
    let (text, _) = success(report);
    assert!(text.contains("time, ms"), "{text}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("time, ms"), "{page}");
    assert!(page.contains(" --device cpu --threads 1</pre>"), "{page}");
    // What is done is not measured again, and times of different settings do not mix.
    let (_, progress) = success(run(folder.path(), STUDY, &one_thread));
    assert!(!progress.contains("run 1"), "{progress}");
    let error = failure(run(folder.path(), STUDY, &["--threads", "2"]), 2);
    assert!(error.contains("times of cpu with --threads 1"), "{error}");
    // Nor do times of different computers.
    let runs = folder.path().join("out").join("runs");
    let name = "activation=relu,pass=forward,round=0";
    let timing = runs.join(name).join("timing.json");
    let text = std::fs::read_to_string(&timing).expect("a time");
    let mut timed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    timed["processor"] = "Z80".into();
    std::fs::write(&timing, timed.to_string()).expect("written");
    let error = failure(run(folder.path(), STUDY, &one_thread), 2);
    assert!(error.contains("times of another computer (Z80"), "{error}");
}

#[test]
fn wrong_options_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    for (from, to, message) in [
        ("shape = [2, 3, 4]", "shape = [2]", "shape needs"),
        ("shape = [2, 3, 4]", "calls = 0", "calls must be"),
        ("shape = [2, 3, 4]", "dtype = \"f8\"", "dtype must be"),
        ("shape = [2, 3, 4]", "epochs = 1", "epochs"),
        ("\"mish\"", "\"mash\"", "mash"),
        (
            "baseline",
            "metric = \"final_top1\"\nbaseline",
            "kind timing",
        ),
        (
            "kind = \"timing\"",
            "metric = \"milliseconds\"",
            "kind training",
        ),
    ] {
        let error = failure(run(folder.path(), &STUDY.replace(from, to), &[]), 2);
        assert!(error.contains(message), "{error}");
        assert!(!folder.path().join("out").exists());
    }
    success(run(folder.path(), STUDY, &[]));
    let mut report = mish(&["study", "report", "--metric", "final_top1"]);
    report.arg(folder.path().join("out"));
    assert!(failure(report, 2).contains("--metric final_top1"));
}
