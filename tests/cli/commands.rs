//! The commands beside training.

use candle_mish_models as models;

use crate::{json, mish, train};

#[test]
fn models_are_listed() {
    let rows = json(mish(&["models"]));
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), models::entries().count());
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().expect("a name"))
        .collect();
    assert!(names.contains(&"resnet20"));
    let filtered = json(mish(&["models", "resnet20"]));
    assert!(
        filtered
            .as_array()
            .is_some_and(|rows| !rows.is_empty() && rows.len() < names.len())
    );
    let text = mish(&["models"]).output().expect("started");
    assert!(String::from_utf8_lossy(&text.stdout).contains("resnet20"));
}

#[test]
fn a_dry_run_prints_what_would_be_trained() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("recipe.toml");
    std::fs::write(&recipe, "lr = 0.05\nopt = 'adamw'\nepochs = 7\n").expect("written");
    let run = folder.path().join("run");
    let mut command = train(&run, &["--dry-run", "--activation", "swish", "--recipe"]);
    command.arg(&recipe);
    let config = json(command);
    assert_eq!(config["activation"], "silu");
    assert_eq!(config["recipe"]["lr"], 0.05);
    assert_eq!(config["recipe"]["opt"], "adamw");
    assert_eq!(config["recipe"]["epochs"], 2, "flags go before the file");
    assert_eq!(config["data"]["limit_train"], 96);
    assert!(!run.exists());
    let text = train(&run, &["--dry-run"]).output().expect("started");
    let text = String::from_utf8(text.stdout).expect("text");
    let table: toml::Table = text.parse().expect("TOML");
    assert_eq!(table["model"].as_str(), Some("resnet20"));
}

#[test]
fn images_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    let weights = run.join("last.safetensors");
    let image = folder.path().join("image.png");
    let picture =
        image::RgbImage::from_fn(48, 40, |x, y| image::Rgb([x as u8 * 5, y as u8 * 6, 99]));
    picture.save(&image).expect("a picture");
    let predict = |more: &[&str]| {
        let mut command = mish(&["predict", "--weights"]);
        command.arg(&weights).arg(&image).args(more);
        command
    };
    let answer = json(predict(&["--top", "100"]));
    let classes = answer[0]["classes"].as_array().expect("a list");
    assert_eq!(classes.len(), 100);
    let probability = |i: usize| classes[i]["probability"].as_f64().expect("a number");
    let sum: f64 = (0..100).map(probability).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    assert!((1..100).all(|i| probability(i) <= probability(i - 1)));
    let text = predict(&[]).output().expect("started");
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(
        text.contains("image.png: ") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn help_version_and_completions_are_printed() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["train", "--help"],
        &["completions", "bash"],
    ] {
        let output = mish(args).output().expect("started");
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn the_log_file_holds_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log.txt");
    let mut command = train(&folder.path().join("run"), &["--epochs", "1", "--log-file"]);
    command.arg(&log).assert().success();
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(
        text.contains("epoch 1/1") && text.contains("resnet20"),
        "{text}"
    );
}
