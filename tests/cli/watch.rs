//! What a run leaves to look at: event files, tables, reports and comparisons.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_mish::tensorboard::proto::{Event, SessionStatus, ValueKind, What};
use candle_mish::tensorboard::{event_files, read_events};
use serde_json::Value;

use crate::{SMALL, failure, json, mish, success};

/// Trains a network that needs no time, 3 steps in an epoch.
fn train(folder: &Path, flags: &[&str]) -> assert_cmd::Command {
    let mut command = mish(&["train", "mlp_2x8", "--output"]);
    command.arg(folder).args(SMALL).args(RATE).args(flags);
    command
}

const RATE: &[&str] = &["--sched", "constant", "--lr", "0.01"];
const STEPS: i64 = 3;

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn records(run: &Path) -> Vec<Value> {
    let text = read(&run.join("metrics.jsonl"));
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON lines")
}

/// The events of each file of a run.
fn events(run: &Path) -> Vec<Vec<Event>> {
    let files = event_files(&run.join("tensorboard")).expect("event files");
    let events = |path: &PathBuf| {
        let file = std::fs::read(path).expect("a file");
        let events = read_events(&file).collect::<Result<Vec<_>, _>>();
        events.expect("whole records with their checksums")
    };
    files.iter().map(events).collect()
}

/// The values by tag and step, as TensorBoard merges the files: where a file starts, values of its
/// first step and after it are dropped.
fn merged(files: &[Vec<Event>]) -> BTreeMap<(String, i64), ValueKind> {
    let mut values = BTreeMap::new();
    for event in files.iter().flatten() {
        match &event.what {
            Some(What::SessionLog(log)) if log.status == SessionStatus::Start as i32 => {
                values.retain(|(_, step), _| *step < event.step);
            }
            Some(What::Summary(summary)) => {
                for value in &summary.value {
                    let kind = value.value.clone().expect("a value");
                    let before = values.insert((value.tag.clone(), event.step), kind);
                    assert!(
                        before.is_none(),
                        "{} comes twice in step {}",
                        value.tag,
                        event.step
                    );
                }
            }
            _ => {}
        }
    }
    values
}

fn scalar(values: &BTreeMap<(String, i64), ValueKind>, tag: &str, step: i64) -> f32 {
    match values.get(&(tag.to_string(), step)) {
        Some(ValueKind::SimpleValue(value)) => *value,
        other => panic!("{tag} in step {step}: {other:?}"),
    }
}

#[test]
fn an_event_file_has_the_figures_of_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = [
        "--tensorboard",
        "--histograms",
        "--log-interval",
        "2",
        "--epochs",
        "2",
    ];
    train(&run, &flags).assert().success();
    let files = events(&run);
    assert_eq!(files.len(), 1);
    let first = files[0][0].what.clone();
    assert_eq!(first, Some(What::FileVersion("brain.Event:2".to_string())));
    let values = merged(&files);
    for record in records(&run) {
        let step = record["step"].as_i64().expect("a step");
        for (tag, name) in [
            ("eval/loss", "loss"),
            ("eval/top1", "top1"),
            ("eval/top5", "top5"),
            ("epoch/train_loss", "train_loss"),
            ("epoch/train_top1", "train_top1"),
            ("epoch/lr", "lr"),
            ("epoch/images_per_second", "images_per_second"),
        ] {
            let expected = record[name].as_f64().expect("a number") as f32;
            assert_eq!(scalar(&values, tag, step), expected, "{tag}");
        }
        let Some(ValueKind::Histo(histogram)) =
            values.get(&("pre_activations/layers.0.act".to_string(), step))
        else {
            panic!("no histogram in step {step}");
        };
        // A batch of 32 test images, 8 units.
        assert_eq!(histogram.num, 256.0);
        assert_eq!(histogram.bucket.iter().sum::<f64>(), 256.0);
        assert!(histogram.min < 0.0 && histogram.max > 0.0);
    }
    let logged = values.keys().filter(|(tag, _)| tag == "train/loss");
    let logged: Vec<i64> = logged.map(|(_, step)| *step).collect();
    assert_eq!(logged, [2, 4, 6]);
    assert_eq!(scalar(&values, "train/lr", 4), 0.01);
    let Some(ValueKind::Image(image)) = values.get(&("train/images".to_string(), 0)) else {
        panic!("no image");
    };
    let sheet = image::load_from_memory(&image.encoded_image_string).expect("a PNG file");
    assert_eq!(
        (sheet.width() as i32, sheet.height() as i32),
        (image.width, image.height)
    );
    for (tag, part) in [("hyperparameters", "| lr | 0.01 |"), ("layers", "layers.0")] {
        let Some(ValueKind::Tensor(text)) = values.get(&(format!("{tag}/text_summary"), 0)) else {
            panic!("no text {tag}");
        };
        assert!(
            String::from_utf8_lossy(&text.string_val[0]).contains(part),
            "{tag}"
        );
    }
}

#[test]
fn a_run_that_continues_replaces_what_it_does_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let [straight, stopped, kept] =
        ["straight", "stopped", "kept"].map(|name| folder.path().join(name));
    let flags = ["--tensorboard", "--log-interval", "1", "--no-report"];
    let train_for = |run: &Path, epochs: &str| {
        let mut command = train(run, &flags);
        command.args(["--epochs", epochs]);
        success(command);
    };
    let resume = |epochs: &str| {
        let mut command = mish(&["train", "--threads", "2", "--epochs", epochs, "--resume"]);
        command.arg(&stopped).args(flags);
        success(command);
    };
    train_for(&straight, "4");
    train_for(&stopped, "2");
    std::fs::create_dir(&kept).expect("a folder");
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
            }
        }
    };
    copy(&stopped, &kept);
    resume("3");
    // As after a power cut: the state is that of epoch 2, the event files have epoch 3.
    copy(&kept, &stopped);
    resume("4");

    let files = events(&stopped);
    let starts = |events: &Vec<Event>| {
        let mut events = events.iter();
        let start = events.find(|event| matches!(event.what, Some(What::SessionLog(_))));
        start.map(|event| event.step)
    };
    let starts: Vec<Option<i64>> = files.iter().map(starts).collect();
    let continued = Some(2 * STEPS + 1);
    assert_eq!(starts, [None, continued, continued]);
    let figures = |run: &Path| {
        let mut values = merged(&events(run));
        // Times differ, and the texts are written again.
        values.retain(|(tag, _), _| {
            !["seconds", "images_per_second", "text_summary"]
                .iter()
                .any(|end| tag.ends_with(end))
        });
        values
    };
    let expected = figures(&straight);
    assert_eq!(
        expected
            .keys()
            .filter(|(tag, _)| tag == "train/loss")
            .count(),
        12
    );
    assert_eq!(figures(&stopped), expected);
    let processes = read(&stopped.join("sessions.jsonl"));
    assert_eq!(
        processes.lines().count(),
        2,
        "the copied file and the last process"
    );
}

#[test]
fn summary_csv_has_timms_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &["--epochs", "2", "--no-report"])
        .assert()
        .success();
    let csv = read(&run.join("summary.csv"));
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("epoch,train_loss,eval_loss,eval_top1,eval_top5,lr")
    );
    let records = records(&run);
    for (line, record) in lines.by_ref().zip(&records) {
        let fields: Vec<f64> = line
            .split(',')
            .map(|field| field.parse().expect("a number"))
            .collect();
        let number = |name: &str| record[name].as_f64().expect("a number");
        let expected = [
            number("epoch"),
            number("train_loss"),
            number("loss"),
            100.0 * number("top1"),
            100.0 * number("top5"),
            number("lr"),
        ];
        for (field, expected) in fields.iter().zip(expected) {
            assert!((field - expected).abs() <= 1e-12 * expected.abs(), "{line}");
        }
    }
    assert_eq!((records.len(), lines.next()), (2, None));
    assert!(!run.join("report.html").exists() && !run.join("tensorboard").exists());
}

/// A page without the data of its images, which may contain any word.
fn without_images(page: &str) -> String {
    let mut parts = page.split("base64,");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| {
        let (_, rest) = part.split_once('"').expect("the end of the data");
        text + rest
    })
}

#[test]
fn a_report_shows_the_run_and_can_be_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let summary = json(train(&run, &["--epochs", "2", "--val-split", "0.25"]));
    let page = read(&run.join("report.html"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    let top1 = 100.0 * summary["final_top1"].as_f64().expect("a number");
    for part in [
        "mlp_2x8 with mish on synthetic",
        "lang=\"en\"",
        "prefers-color-scheme: dark",
        "validation top-1",
        &format!("classify {top1:.2} %"),
        "of the 40 test images",
        "A row for each coarse class",
        "The hardest classes",
        "data:image/png;base64,",
        "alt=\"Test image ",
        "expected calibration error",
        "sched = &quot;constant&quot;",
        "--val-split 0.25",
        "last.safetensors",
        "SHA-256",
        "scope=\"row\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let text = without_images(&page);
    assert!(
        !text.contains("http") && !text.contains("<script"),
        "nothing from the web"
    );
    assert!(
        !text.contains("NaN") && !text.contains("inf "),
        "numbers are finite"
    );

    let mut command = mish(&["report", "--threads", "2"]);
    command.arg(&run);
    std::fs::remove_file(run.join("report.html")).expect("a report");
    let (stdout, _) = success(command);
    assert_eq!(
        stdout.trim_end(),
        run.join("report.html").display().to_string()
    );
    assert_eq!(read(&run.join("report.html")), page, "the same page");
    let other = folder.path().join("other.html");
    let mut command = mish(&["report", "--threads", "2", "--output"]);
    command.arg(&other).arg(&run);
    let answer = json(command);
    assert_eq!(answer["top1"], summary["final_top1"]);
    assert_eq!(read(&other), page);

    let report = |folder: &Path, flags: &[&str]| {
        let mut command = mish(&["report"]);
        command.arg(folder).args(flags);
        failure(command, 1)
    };
    let error = report(&run, &["--output", "no/such/page.html"]);
    let said = "cannot write --output no/such/page.html";
    assert!(error.contains(said), "{error}");
    let error = report(folder.path(), &[]);
    assert!(
        error.contains("holds no run: config.toml is missing"),
        "{error}"
    );
    std::fs::write(run.join("summary.json"), "{").expect("a file");
    let error = report(&run, &[]);
    assert!(error.contains("summary.json is damaged"), "{error}");
    std::fs::remove_file(run.join("summary.json")).expect("a file");
    std::fs::write(run.join("metrics.jsonl"), "").expect("a file");
    let error = report(&run, &[]);
    assert!(error.contains("has no finished epoch yet"), "{error}");
}

#[test]
fn runs_are_compared_by_what_differs() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, flags: &[&str]| {
        let run = folder.path().join(name);
        train(&run, &[&["--no-report"], flags].concat())
            .assert()
            .success();
        run
    };
    let mish_run = run("a,mish", &["--epochs", "2"]);
    let relu_run = run(
        "relu",
        &["--epochs", "3", "--activation", "relu", "--seed", "7"],
    );
    // As if it had been stopped after two epochs of three.
    std::fs::remove_file(relu_run.join("summary.json")).expect("a summary");
    let metrics = read(&relu_run.join("metrics.jsonl"));
    let two: Vec<&str> = metrics.split_inclusive('\n').take(2).collect();
    // The last line was not written whole.
    std::fs::write(
        relu_run.join("metrics.jsonl"),
        two.concat() + "{\"epoch\":3",
    )
    .expect("a file");

    let compare = |flags: &[&str]| {
        let mut command = mish(&["compare"]);
        command.arg(&mish_run).arg(&relu_run).args(flags);
        command
    };
    let (table, _) = success(compare(&["--sort", "name"]));
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        words[..4],
        ["run", "activation", "seed", "epochs"],
        "{table}"
    );
    assert!(lines[1].starts_with("a,mish"), "{table}");
    assert!(lines[2].contains("2 of 3, unfinished"), "{table}");
    assert!(
        !table.contains("momentum") && !table.contains("synthetic"),
        "{table}"
    );

    let names = |flags: &[&str]| {
        let rows = json(compare(flags));
        let rows = rows.as_array().expect("rows").clone();
        let name = |row: &Value| row["run"].as_str().expect("a name").to_string();
        (rows.iter().map(name).collect::<Vec<_>>(), rows)
    };
    let (given, rows) = names(&["--sort", "given"]);
    assert_eq!(given, ["a,mish", "relu"]);
    assert_eq!(
        (&rows[0]["finished"], &rows[1]["finished"]),
        (&true.into(), &false.into())
    );
    assert_eq!(rows[1]["settings"]["activation"], "relu");
    assert_eq!(rows[1]["settings"]["seed"], "7");
    assert_eq!(rows[1]["figures"]["epochs"], 2.0);
    let loss = |i: usize| rows[i]["figures"]["loss"].as_f64().expect("a loss");
    let better = if loss(0) <= loss(1) { "a,mish" } else { "relu" };
    assert_eq!(names(&["--sort", "loss"]).0[0], better);

    let (csv, _) = success(compare(&["--csv", "--sort", "given"]));
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[0].starts_with("run,finished,activation,seed,epochs,top1,"),
        "{csv}"
    );
    assert!(lines[1].starts_with("\"a,mish\",true,mish,0,2,"), "{csv}");

    let [svg, page] = ["curves.svg", "page.html"].map(|name| folder.path().join(name));
    let mut command = compare(&["--svg"]);
    command.arg(&svg).arg("--html").arg(&page);
    success(command);
    let (svg, page) = (read(&svg), read(&page));
    assert!(svg.starts_with("<svg xmlns=") && svg.contains("a,mish"));
    assert_eq!(svg.matches("<polyline").count(), 6);
    for part in ["2 of 3, unfinished", "<svg", "same in all runs", "momentum"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http"), "nothing from the web");

    let error = failure(compare(&["no/such/run"]), 1);
    assert_eq!(
        error,
        "error: no/such/run holds no run: config.toml is missing"
    );
    let error = failure(compare(&["--sort", "speeed"]), 2);
    assert!(error.contains("expected epochs, top1"), "{error}");
    failure(mish(&["compare"]), 2);
    std::fs::write(relu_run.join("config.toml"), "model = ").expect("a file");
    let error = failure(compare(&[]), 1);
    assert!(error.contains("config.toml is damaged"), "{error}");
}

#[test]
fn flags_of_event_files_need_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    for flags in [["--log-interval", "5"].as_slice(), &["--histograms"]] {
        let error = failure(train(&run, flags), 2);
        assert!(error.contains("--tensorboard"), "{error}");
    }
    let error = failure(train(&run, &["--tensorboard", "--log-interval", "0"]), 2);
    assert!(error.contains("--log-interval"), "{error}");
    assert!(!run.exists());
    // A file where the folder of event files has to be.
    train(&run, &["--epochs", "1", "--no-report"])
        .assert()
        .success();
    std::fs::write(run.join("tensorboard"), "").expect("a file");
    let mut command = mish(&["train", "--tensorboard", "--threads", "2", "--resume"]);
    command.arg(&run).args(["--epochs", "2"]);
    let output = command.output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr
            .lines()
            .last()
            .is_some_and(|line| line.contains("tensorboard")),
        "{stderr}"
    );
}
