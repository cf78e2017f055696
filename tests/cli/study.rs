//! `mish study`.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::{failure, json, mish, success};

const STUDY: &str = r#"
title = "Two activations"
baseline = { activation = "relu" }

[base]
model = "mlp_2x8"
dataset = "synthetic"
limit_train = 256
limit_test = 100
batch_size = 32
epochs = 3
lr = 0.1

[axes]
activation = ["relu", "mish"]
seed = [0, 1, 2]
"#;

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("study-of-mine.toml");
    std::fs::write(&path, text).expect("written");
    path
}

/// `mish study run FILE --output DIR` with one thread, so that all processes round equally.
fn run(file: &Path, output: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["study", "run"]);
    command.arg(file).arg("--output").arg(output);
    command.args(["--threads", "1"]).args(flags);
    command
}

fn report(output: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["study", "report"]);
    command.arg(output).args(flags);
    command
}

#[test]
fn a_study_trains_its_runs_and_reports_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, output) = (write(folder.path(), STUDY), folder.path().join("out"));
    let (text, progress) = success(run(&file, &output, &[]));
    assert!(text.contains("6 of 6 runs finished"), "{text}");
    assert!(text.contains("Difference from activation relu"), "{text}");
    assert!(
        progress.contains("run 1 of 6: activation=relu,seed=0"),
        "{progress}"
    );
    assert!(progress.contains("5 runs left"), "{progress}");

    let analysis = json(report(&output, &[]));
    let cell = &analysis["cells"][1];
    assert_eq!(
        (&cell["activation"], &cell["n"]),
        (&json!("mish"), &json!(3))
    );
    for (i, value) in cell["values"]
        .as_array()
        .expect("values")
        .iter()
        .enumerate()
    {
        let run = output.join(format!("runs/activation=mish,seed={i}/summary.json"));
        let summary = std::fs::read(run).expect("a summary");
        let summary: Value = serde_json::from_slice(&summary).expect("JSON");
        assert_eq!(
            (&summary["final_top1"], &summary["seed"]),
            (value, &json!(i))
        );
    }
    let comparison = &analysis["comparisons"][0];
    assert_eq!(comparison["activation"], "mish");
    for figure in [
        "difference",
        "welch_p",
        "paired_p",
        "mann_whitney_p",
        "holm_p",
        "cohens_d",
    ] {
        assert!(comparison[figure].is_number(), "{figure}: {comparison}");
    }

    let (csv, html) = (
        folder.path().join("runs.csv"),
        folder.path().join("page.html"),
    );
    let flags = [
        "--csv",
        csv.to_str().expect("text"),
        "--html",
        html.to_str().expect("text"),
    ];
    success(report(&output, &flags));
    let csv = std::fs::read_to_string(csv).expect("a table");
    assert_eq!(
        csv.lines().next(),
        Some(
            "activation,seed,state,final_top1,final_top5,final_loss,best_top1,final_ema_top1,\
             best_ema_top1,seconds,train_images_per_second,milliseconds,best_epoch,reason"
        )
    );
    assert_eq!(
        csv.lines()
            .filter(|line| line.contains(",finished,"))
            .count(),
        6
    );
    let html = std::fs::read_to_string(html).expect("a page");
    assert!(html.contains("<title>Two activations</title>") && html.contains("<svg"));

    let by_loss = json(report(&output, &["--metric", "final_loss"]));
    assert_eq!(by_loss["metric"], "final_loss");
    assert_ne!(by_loss["cells"], analysis["cells"]);
    let error = failure(report(&output, &["--metric", "final_ema_top1"]), 1);
    assert!(
        error.contains("run activation=relu,seed=0 has no final_ema_top1: it needs model_ema"),
        "{error}"
    );

    // Nothing is left to do. More seeds only train the new runs.
    let (_, progress) = success(run(&file, &output, &[]));
    assert!(!progress.contains("run 1 of 6"), "{progress}");
    let more = write(folder.path(), &STUDY.replace("[0, 1, 2]", "[0, 1, 2, 3]"));
    let (text, progress) = success(run(&more, &output, &[]));
    assert!(text.contains("8 of 8 runs finished"), "{text}");
    assert_eq!(
        progress.matches("run ").count() - progress.matches("run left").count(),
        2,
        "{progress}"
    );
}

#[test]
fn a_run_whose_loss_diverges_is_a_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = STUDY
        .replace("lr = 0.1\n", "")
        .replace("activation = [", "lr = [0.1, 1e30]\nactivation = [")
        .replace("[0, 1, 2]", "[0]");
    let (file, output) = (write(folder.path(), &study), folder.path().join("out"));
    let (text, _) = success(run(&file, &output, &[]));
    assert!(text.contains("2 of 4 runs finished, 2 failed"), "{text}");
    let analysis = json(report(&output, &[]));
    let reason = analysis["cells"][3]["failures"][0]
        .as_str()
        .expect("a reason");
    assert!(reason.contains("loss"), "{reason}");
    // It is not repeated.
    let (_, progress) = success(run(&file, &output, &[]));
    assert!(!progress.contains("run 3"), "{progress}");
}

#[test]
fn mistakes_are_found_before_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("out");
    for (text, message) in [
        (STUDY.replace("\"mish\"", "\"mihs\""), "did you mean 'mish'"),
        (
            STUDY.replace("lr = 0.1", "learning_rate = 0.1"),
            "--learning-rate",
        ),
        (STUDY.replace("epochs = 3", "epochs = 0"), "--epochs"),
        (STUDY.replace("[axes]", "[axis]"), "line 14"),
        (STUDY.replace("mlp_2x8", "resnet21"), "resnet21"),
        (
            format!("metric = \"best_ema_top1\"\n{STUDY}"),
            "has no best_ema_top1: it needs model_ema",
        ),
    ] {
        let file = write(folder.path(), &text);
        let error = failure(run(&file, &output, &[]), 2);
        assert!(error.contains(message), "{message}: {error}");
        assert!(!output.join("runs").join("activation=relu,seed=0").exists());
        let _ = std::fs::remove_dir_all(&output);
    }
    let missing = Path::new("activatoins");
    let error = failure(run(missing, &output, &[]), 2);
    assert!(error.contains("did you mean 'activations'?"), "{error}");
    let file = write(folder.path(), STUDY);
    let error = failure(run(&file, &output, &["--budget", "laptop"]), 2);
    assert!(error.contains("the study has no budgets"), "{error}");
    let error = failure(run(&file, &output, &["--set", "seed=4"]), 2);
    assert!(error.contains("give a list, such as seed=[4]"), "{error}");
    let error = failure(report(folder.path(), &[]), 1);
    assert!(error.contains("holds no study"), "{error}");
}

#[test]
fn a_folder_keeps_the_setting_of_its_study() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, output) = (write(folder.path(), STUDY), folder.path().join("out"));
    let study = STUDY.replace("[0, 1, 2]", "[0]");
    std::fs::write(&file, study).expect("written");
    success(run(&file, &output, &["--set", "epochs=1"]));
    let error = failure(run(&file, &output, &["--set", "epochs=2"]), 2);
    assert!(error.contains("epochs is 1, not 2"), "{error}");
}

#[test]
fn values_of_an_axis_can_be_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, output) = (write(folder.path(), STUDY), folder.path().join("out"));
    success(run(
        &file,
        &output,
        &["--set", "seed=[4]", "--set", "epochs=1"],
    ));
    let runs = std::fs::read_dir(output.join("runs")).expect("the runs");
    let mut runs: Vec<_> = runs.map(|run| run.expect("a run").file_name()).collect();
    runs.sort();
    assert!(!runs.is_empty());
    for name in runs {
        let name = name.to_string_lossy();
        assert!(name.ends_with("seed=4"), "{name}");
    }
}

#[test]
fn links_to_runs_work_for_any_name_of_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = STUDY.replace("[0, 1, 2]", "[0]");
    let (file, output) = (write(folder.path(), &study), folder.path().join("50 % #2?"));
    success(run(&file, &output, &["--set", "epochs=1"]));
    let html = folder.path().join("page.html");
    let flags = ["--html", html.to_str().expect("text")];
    success(report(&output, &flags));
    let html = std::fs::read_to_string(html).expect("a page");
    let link = "href=\"50 %25 %232%3f/runs/activation=relu,seed=0/";
    assert!(html.contains(link), "{html}");
}

#[test]
fn an_axis_can_switch_off_what_the_recipe_switches_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("recipe.toml");
    std::fs::write(&recipe, "model_ema = true\n").expect("written");
    let base = format!("[base]\nrecipe = {:?}\n", recipe.display().to_string());
    let study = STUDY.replace("[base]\n", &base);
    let study = study.replace("[0, 1, 2]", "[0]");
    let study = study.replace("[axes]\n", "[axes]\nmodel_ema = [true, false]\n");
    let (file, output) = (write(folder.path(), &study), folder.path().join("out"));
    success(run(&file, &output, &["--set", "epochs=1"]));
    for model_ema in [true, false] {
        let name = format!("model_ema={model_ema},activation=relu,seed=0");
        let summary = output.join("runs").join(name).join("summary.json");
        let summary = std::fs::read_to_string(summary).expect("a summary");
        let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
        assert_eq!(summary["ema"].is_object(), model_ema, "{summary}");
    }
}

#[test]
fn a_study_continues_with_another_interval_of_saving() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = STUDY.replace("[0, 1, 2]", "[0]");
    let (file, output) = (write(folder.path(), &study), folder.path().join("out"));
    success(run(&file, &output, &["--set", "epochs=1"]));
    let other = ["--set", "epochs=1", "--set", "recovery_interval=10m"];
    success(run(&file, &output, &other));
}

#[cfg(unix)]
#[test]
fn an_interrupted_study_continues_with_the_same_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = STUDY.replace("epochs = 3", "epochs = 100000");
    let (file, output) = (write(folder.path(), &study), folder.path().join("out"));
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("mish"));
    command.args(["study", "run"]).arg(&file);
    command.arg("--output").arg(&output);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("started");
    let metrics = output.join("runs/activation=relu,seed=0/metrics.jsonl");
    while !metrics.exists() {
        let ended = process.try_wait().expect("a process");
        assert!(ended.is_none(), "{ended:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = process.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(kill.expect("kill").success());
    let ended = process.wait_with_output().expect("ended");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(last, "stopped; run the same command again to continue");
    assert!(!stderr.contains("--resume"), "{stderr}");
}

/// Starts a process that works on the study.
fn start(file: &Path, output: &Path) -> Child {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("mish"));
    command
        .args(["study", "run"])
        .arg(file)
        .arg("--output")
        .arg(output);
    command
        .args(["--threads", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("started")
}

#[test]
fn processes_that_die_and_share_the_work_give_the_same_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = STUDY.replace("[0, 1, 2]", "[0, 1, 2, 3, 4, 5]");
    let file = write(folder.path(), &study);
    let undisturbed = folder.path().join("undisturbed");
    success(run(&file, &undisturbed, &[]));
    let expected = json(report(&undisturbed, &[]));
    assert_eq!(expected["finished"], 12);

    let output = folder.path().join("shared");
    // Times that hit different runs and moments on any machine; the result does not depend on them.
    for milliseconds in [150, 400, 250, 700, 300] {
        let mut processes = [start(&file, &output), start(&file, &output)];
        std::thread::sleep(Duration::from_millis(milliseconds));
        for process in &mut processes {
            process.kill().expect("killed");
            process.wait().expect("ended");
        }
    }
    let mut processes = [start(&file, &output), start(&file, &output)];
    for process in &mut processes {
        assert!(process.wait().expect("ended").success());
    }
    let analysis = json(report(&output, &[]));
    assert_eq!(analysis, expected);
}

#[test]
fn studies_are_listed_and_shown() {
    let list = json(mish(&["study", "list"]));
    let names: Vec<&str> = list
        .as_array()
        .expect("studies")
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect();
    assert!(names.contains(&"activations"), "{names:?}");
    let (text, _) = success(mish(&["study", "list"]));
    for name in names {
        assert!(text.contains(name), "{text}");
        let (toml, _) = success(mish(&["study", "show", name]));
        let study: toml::Table = toml::from_str(&toml).expect("TOML");
        for budget in ["smoke", "laptop", "paper"] {
            assert!(
                study["budgets"].get(budget).is_some(),
                "{name} has no budget {budget}"
            );
            let published = study.get("published").and_then(toml::Value::as_array);
            for figures in published.into_iter().flatten() {
                assert!(figures["source"].as_str() > Some(""), "{name}: {figures}");
                for figure in figures["figures"].as_array().expect("figures") {
                    assert_is_of_a_cell(name, &study, figure);
                }
            }
            let mut command = mish(&["study", "run", name, "--output", "never-made"]);
            command.args(["--budget", budget, "--dry-run"]);
            let (runs, _) = success(command);
            assert!(runs.contains("not started"), "{name}: {runs}");
        }
    }
}

/// Checks that an axis of the study, at some budget, has each value that a figure names.
fn assert_is_of_a_cell(name: &str, study: &toml::Table, figure: &toml::Value) {
    let budgets = study["budgets"].as_table().expect("budgets").values();
    let axes: Vec<&toml::Value> = budgets
        .filter_map(|budget| budget.get("axes"))
        .chain([&study["axes"]])
        .collect();
    for (option, value) in figure.as_table().expect("a table") {
        if ["value", "std", "n"].contains(&option.as_str()) {
            continue;
        }
        let mut values = axes.iter().filter_map(|axes| axes.get(option)?.as_array());
        assert!(
            values.any(|values| values.contains(value)),
            "{name}: {figure}"
        );
    }
}
