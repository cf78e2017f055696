//! Files and folders that commands write: checked before the work, and never in place of others.

use std::path::Path;

use assert_cmd::Command;

use crate::{failure, mish, success};

/// A training of an instant into `folder`.
fn train(folder: &Path) -> Command {
    let mut command = mish(&["train", "mlp_2x8", "--dataset", "synthetic", "--output"]);
    command.arg(folder);
    command.args(["--limit-train", "64", "--limit-test", "32", "--epochs", "1"]);
    command.args(["--threads", "1", "--no-report"]);
    command
}

/// `mish` in a folder.
fn within(folder: &Path, line: &str) -> Command {
    let mut command = mish(&line.split(' ').collect::<Vec<_>>());
    command.current_dir(folder);
    command
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_work() {
    let folder = tempfile::tempdir().expect("a folder");
    success(train(&folder.path().join("run")));
    for (line, option) in [
        ("plot mish --csv no/a.csv", "--csv"),
        ("plot edge-of-chaos mish --output no/a.svg", "--output"),
        ("plot signal mish --output no/a.svg", "--output"),
        ("plot landscape-output mish --output no/a.png", "--output"),
        ("plot hessian WEIGHTS --csv no/a.csv", "--csv"),
        ("plot loss-landscape WEIGHTS --csv no/a.csv", "--csv"),
        ("plot dead-units WEIGHTS --csv no/a.csv", "--csv"),
        ("plot pre-activations WEIGHTS --csv no/a.csv", "--csv"),
        ("data preview --output no/a.png", "--output"),
        ("bench activations --csv no/a.csv", "--csv"),
        ("compare run --svg no/a.svg", "--svg"),
        ("compare run --html no/a.html", "--html"),
        ("study report none --html no/a.html", "--html"),
        ("report run --output no/a.html", "--output"),
        ("lr-find mlp_2x8 --plot no/a.svg", "--plot"),
        ("swap WEIGHTS --to relu --html no/a.html", "--html"),
        ("export WEIGHTS --out no/a.onnx", "--out"),
        ("predict a.png WEIGHTS --output no/a.csv", "--output"),
        ("predict a.png WEIGHTS --logits no/a.json", "--logits"),
        ("average a b --output no/a.safetensors", "--output"),
    ] {
        let line = line.replace("WEIGHTS", "--weights run/last.safetensors");
        let error = failure(within(folder.path(), &line), 1);
        let said = format!("cannot write {option} no/a.");
        assert!(error.contains(&said), "{line}: {error}");
    }
    let entries = std::fs::read_dir(folder.path()).expect("the folder");
    assert_eq!(entries.count(), 1, "only the run");
}

#[test]
fn an_extension_names_the_format() {
    let folder = tempfile::tempdir().expect("a folder");
    for (line, said) in [
        (
            "plot mish --output a.png",
            "--output a.png: the command writes SVG",
        ),
        ("plot mish --csv a.json", "extension must be .csv"),
        ("data preview --output a.jpg", "the command writes PNG"),
        ("compare run --html a.svg", "must be .html or .htm"),
        ("average a b --output a.pth", "must be .safetensors"),
    ] {
        let error = failure(within(folder.path(), line), 2);
        assert!(error.contains(said), "{line}: {error}");
    }
    success(within(folder.path(), "plot mish --output a.SVG"));
    success(within(folder.path(), "plot mish --output plot"));
    let entries = std::fs::read_dir(folder.path()).expect("the folder");
    assert_eq!(entries.count(), 2);
}

#[test]
fn an_export_keeps_its_input() {
    let folder = tempfile::tempdir().expect("a folder");
    success(train(&folder.path().join("run")));
    let weights = folder.path().join("run/last.safetensors");
    let before = std::fs::read(&weights).expect("weights");
    for out in ["run/last.safetensors", "run/../run/last.safetensors"] {
        let line = format!("export --weights run/last.safetensors --dtype f16 --out {out}");
        let error = failure(within(folder.path(), &line), 2);
        let said = "is the file of the weights: name another file";
        assert!(error.contains(said), "{error}");
    }
    assert!(std::fs::read(&weights).expect("weights") == before);
}

#[test]
fn a_run_needs_a_folder_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let pets = folder.path().join("pets");
    std::fs::create_dir_all(pets.join("train")).expect("a folder");
    let error = failure(train(&pets), 1);
    assert!(error.contains("it has train"), "{error}");
    let said = format!("such as --output {}", pets.join("NAME").display());
    assert!(error.ends_with(&said), "{error}");
    let entries = std::fs::read_dir(&pets).expect("the folder");
    assert_eq!(entries.count(), 1);
    // An empty folder, and one that a run left before its first state.
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    success(train(&empty));
    let left = folder.path().join("left");
    std::fs::create_dir(&left).expect("a folder");
    for file in [".lock", "sessions.jsonl", "state.safetensors"] {
        std::fs::write(left.join(file), "").expect("written");
    }
    success(train(&left));
    // A finished run is no place for a study.
    let mut study = mish(&["study", "run", "activations"]);
    study.args(["--budget", "smoke", "--output"]).arg(&empty);
    let error = failure(study, 1);
    assert!(error.contains("holds no study"), "{error}");
    assert!(!empty.join("study.toml").exists() && !empty.join("runs").exists());
}

#[test]
fn a_folder_of_runs_is_no_run() {
    let folder = tempfile::tempdir().expect("a folder");
    success(train(&folder.path().join("runs/a")));
    for line in ["compare runs", "report runs", "train --resume runs"] {
        let error = failure(within(folder.path(), line), 1);
        let said = "its subfolders hold runs: name one, or all of them with /*";
        assert!(error.ends_with(said), "{error}");
    }
}

#[test]
fn columns_have_one_name_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = ["a", "b"].map(|name| folder.path().join(name));
    success(train(&first));
    let mut other = train(&second);
    other.args(["--loss", "margin", "--lr", "0.01"]);
    success(other);
    let compare = |flags: &[&str]| {
        let mut command = mish(&["compare"]);
        command.arg(&first).arg(&second).args(flags);
        success(command).0
    };
    let csv = compare(&["--csv"]);
    let mut names: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    assert!(names.contains(&"recipe.loss") && names.contains(&"loss"));
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{csv}");
    assert!(compare(&[]).contains("recipe.loss"));
}

#[test]
fn the_state_of_a_run_is_not_averaged() {
    let folder = tempfile::tempdir().expect("a folder");
    success(train(&folder.path().join("run")));
    let line = "average run/best.safetensors run/state.safetensors --output mean.safetensors";
    let error = failure(within(folder.path(), line), 1);
    let said = "run/state.safetensors is the state of a run, not a checkpoint";
    assert!(error.contains(said), "{error}");
}
