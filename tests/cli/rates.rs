//! Schedules, accumulation, early stopping and the range test, from the command line.

use std::path::Path;

use assert_cmd::Command;
use candle_mish::train::Recipe;
use serde_json::Value;

use crate::{failure, json, mish, stderr_of, success};

const DATA: [&str; 10] = [
    "--dataset",
    "synthetic",
    "--limit-train",
    "256",
    "--limit-test",
    "64",
    "--batch-size",
    "32",
    "--threads",
    "1",
];

/// A training of an instant into `folder`: 8 batches in an epoch.
fn train(folder: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "mlp_2x8", "--output"]);
    command.arg(folder).args(DATA).args(flags);
    command
}

fn text(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The recipe in a run's configuration.
fn recipe(folder: &Path) -> Recipe {
    let config: toml::Table = text(folder, "config.toml").parse().expect("TOML");
    config["recipe"].clone().try_into().expect("a recipe")
}

fn metrics(folder: &Path) -> Vec<Value> {
    let lines = text(folder, "metrics.jsonl");
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON")
}

/// The flags reach the schedule: the metrics have its rates.
#[test]
fn runs_have_the_rates_of_their_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [(&str, &str); 7] = [
        (
            "cosine",
            "--warmup-epochs 0.5 --warmup-prefix false --lr-cycle-limit 2 --lr-cycle-mul 2 \
             --lr-cycle-decay 0.5 --lr-k-decay 1.5 --cooldown-epochs 0.5 --min-lr 0.001",
        ),
        ("tanh", "--tanh-lb -4 --tanh-ub 2"),
        (
            "poly",
            "--poly-power 0.9 --warmup-epochs 1 --warmup-lr 0.002",
        ),
        ("step", "--decay-epochs 1.5 --sched-on epochs"),
        ("exponential", "--decay-epochs 1 --decay-rate 0.5"),
        ("plateau", "--patience-epochs 0 --eval-metric loss"),
        (
            "onecycle",
            "--cycle-momentum --base-momentum 0.8 --max-momentum 0.9 --opt adam",
        ),
    ];
    for (sched, flags) in cases {
        let run = folder.path().join(sched);
        let common = ["--sched", sched, "--lr", "0.02", "--epochs", "3"];
        let flags = [&common[..], &flags.split_whitespace().collect::<Vec<_>>()].concat();
        train(&run, &flags).assert().success();
        let recipe = recipe(&run);
        assert_eq!(
            (recipe.sched.to_string(), recipe.lr),
            (sched.to_string(), 0.02)
        );
        recipe.validate().expect(sched);
        let mut schedule = recipe.schedule(8);
        let mut other = Recipe {
            sched: recipe.sched,
            lr: recipe.lr,
            epochs: recipe.epochs,
            ..Recipe::default()
        }
        .schedule(8);
        let mut differs = false;
        for line in metrics(&run) {
            let step = line["step"].as_u64().expect("a number") - 1;
            let lr = line["lr"].as_f64().expect("a number");
            assert!(
                (schedule.lr(step) - lr).abs() < 1e-15,
                "{sched}, step {step}: {lr}"
            );
            differs |= (0..=step).any(|step| schedule.rates(step) != other.rates(step));
            schedule.observe(line["loss"].as_f64().expect("a number"));
            other.observe(line["top1"].as_f64().expect("a number"));
        }
        assert!(
            differs || sched == "plateau",
            "{sched}: the flags have no effect"
        );
    }
}

#[test]
fn small_rates_are_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--epochs", "1", "--sched", "constant", "--lr", "1e-5"];
    let stderr = stderr_of(train(&run, &flags));
    assert!(stderr.contains("  lr 1.00e-5  "), "{stderr}");
}

#[test]
fn flags_without_effect_are_usage_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    for (flags, said) in [
        (
            "--warmup-epochs 1",
            "--warmup-epochs needs a schedule other than onecycle",
        ),
        (
            "--warmup-lr 0.1",
            "--warmup-lr needs a schedule other than onecycle",
        ),
        (
            "--sched cosine --warmup-lr 0.1",
            "--warmup-lr needs --warmup-epochs",
        ),
        (
            "--sched cosine --warmup-prefix",
            "--warmup-prefix needs --warmup-epochs",
        ),
        (
            "--sched plateau --warmup-prefix",
            "--warmup-prefix needs a schedule",
        ),
        (
            "--min-lr 0",
            "--min-lr needs the schedule cosine, tanh, poly or plateau",
        ),
        (
            "--sched step --cooldown-epochs 1",
            "--cooldown-epochs needs the schedule cosine",
        ),
        (
            "--sched step --lr-cycle-limit 2",
            "--lr-cycle-limit needs the schedule cosine",
        ),
        (
            "--sched cosine --lr-cycle-mul 2",
            "--lr-cycle-mul needs an --lr-cycle-limit above 1",
        ),
        (
            "--sched tanh --lr-k-decay 2",
            "--lr-k-decay needs the schedule cosine or poly",
        ),
        (
            "--sched cosine --poly-power 2",
            "--poly-power needs the schedule poly",
        ),
        (
            "--sched cosine --tanh-lb -2",
            "--tanh-lb needs the schedule tanh",
        ),
        (
            "--sched tanh --tanh-lb 4",
            "--tanh-lb is 4.0, must be less than --tanh-ub",
        ),
        (
            "--sched cosine --pct-start 0.25",
            "--pct-start needs the schedule onecycle",
        ),
        (
            "--sched cosine --cycle-momentum",
            "--cycle-momentum needs the schedule onecycle",
        ),
        (
            "--base-momentum 0.8",
            "--base-momentum needs --cycle-momentum",
        ),
        (
            "--cycle-momentum --base-momentum 0.96",
            "--base-momentum is 0.96, must be at most --max-momentum",
        ),
        (
            "--cycle-momentum --momentum 0.8",
            "--momentum needs a schedule without --cycle-momentum",
        ),
        (
            "--cycle-momentum --opt nadam",
            "--cycle-momentum needs another optimizer",
        ),
        (
            "--decay-epochs 30",
            "--decay-epochs needs the schedule step or exponential",
        ),
        (
            "--sched step --decay-milestones 1",
            "--decay-milestones needs the schedule multistep",
        ),
        (
            "--decay-rate 0.1",
            "--decay-rate needs the schedule step, multistep",
        ),
        (
            "--sched step --patience-epochs 1",
            "--patience-epochs needs the schedule plateau",
        ),
        (
            "--sched plateau --decay-rate 1",
            "--decay-rate is 1.0, must be less than 1",
        ),
        (
            "--early-stop-min-delta 0.1",
            "--early-stop-min-delta needs --early-stop-patience",
        ),
        (
            "--sched cosine --cooldown-epochs 10 --warmup-epochs 1",
            "--cooldown-epochs is 10.0, must be at most the number of epochs",
        ),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        let message = failure(train(&run, &flags), 2);
        assert!(message.contains(said), "{flags:?}: {message}");
        assert!(!run.exists(), "{flags:?} left a folder");
    }
}

#[test]
fn a_recipe_file_with_a_field_of_another_schedule_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, "sched = 'cosine'\ndecay_rate = 0.1\n").expect("written");
    let mut command = train(&folder.path().join("run"), &["--recipe"]);
    command.arg(&file);
    let message = failure(command, 1);
    let said = "decay_rate needs the schedule step, multistep, exponential or plateau";
    assert!(
        message.contains(said) && message.contains("recipe.toml"),
        "{message}"
    );
}

#[test]
fn accumulated_batches_make_one_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--grad-accum-steps", "3", "--epochs", "2"];
    let stderr = stderr_of(train(&run, &flags));
    assert!(
        stderr.contains("2 epochs of 3 steps, 3 x 32 images per step"),
        "{stderr}"
    );
    let steps: Vec<_> = metrics(&run)
        .iter()
        .map(|line| line["step"].clone())
        .collect();
    assert_eq!(steps, [3, 6]);
    let mut resume = mish(&["train", "--grad-accum-steps", "2", "--resume"]);
    resume.arg(&run);
    let message = failure(resume, 2);
    assert!(message.contains("grad_accum_steps = 3"), "{message}");
}

#[test]
fn a_run_that_stops_early_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = [
        "--sched",
        "constant",
        "--lr",
        "1e-9",
        "--epochs",
        "30",
        "--early-stop-patience",
        "2",
    ];
    let (stdout, _) = success(train(&run, &flags));
    let summary: Value = serde_json::from_str(&text(&run, "summary.json")).expect("JSON");
    let epochs = summary["epochs"].as_u64().expect("a number");
    assert!(epochs < 30, "{summary}");
    assert_eq!(summary["stopped_early"], true);
    assert_eq!(metrics(&run).len() as u64, epochs);
    let said = format!("stopped early after {epochs} of 30 epochs");
    assert!(stdout.contains(&said), "{stdout}");
    let mut resume = mish(&["train", "--threads", "1", "--epochs", "40", "--resume"]);
    resume.arg(&run);
    assert_eq!(json(resume)["epochs"], epochs);
}

fn lr_find(flags: &[&str]) -> Command {
    let mut command = mish(&["lr-find", "mlp_2x8"]);
    command.args(DATA).args(flags);
    command
}

#[test]
fn a_range_test_suggests_rates_and_draws_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let plot = folder.path().join("plot.svg");
    let mut command = lr_find(&["--start-lr", "1e-4", "--end-lr", "1e3", "--num-iter", "60"]);
    command.current_dir(folder.path()).arg("--plot").arg(&plot);
    let found = json(command);
    let points = found["points"].as_array().expect("a list");
    let number = |value: &Value| value.as_f64().expect("a number");
    assert!((11..=60).contains(&points.len()), "{}", points.len());
    assert_eq!(number(&points[0]["lr"]), 1e-4);
    for pair in points.windows(2) {
        let ratio = number(&pair[1]["lr"]) / number(&pair[0]["lr"]);
        assert!((ratio - 1e7_f64.powf(1.0 / 59.0)).abs() < 1e-9, "{ratio}");
    }
    let suggestion = &found["suggestion"];
    for name in ["steepest", "minimum_tenth"] {
        let lr = number(&suggestion[name]);
        assert!((1e-5..1e3).contains(&lr), "{name}: {lr}");
    }
    let svg = std::fs::read_to_string(&plot).expect("a plot");
    assert!(svg.starts_with("<svg") && svg.contains("steepest"), "{svg}");
    // Nothing but the plot.
    let files = std::fs::read_dir(folder.path())
        .expect("the folder")
        .count();
    assert_eq!(files, 1);
}

#[test]
fn a_range_test_prints_tables() {
    let range = ["--num-iter", "30", "--end-lr", "1"];
    let (stdout, _) = success(lr_find(&range));
    assert!(
        stdout.contains("running mean") && stdout.contains("The loss"),
        "{stdout}"
    );
    let (stdout, _) = success(lr_find(&[&range[..], &["--csv"]].concat()));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines[0], lines.len()), ("lr,loss,smoothed", 31));
    assert!(lines[1].starts_with("0.0000001,"), "{}", lines[1]);
    // A loss that is not finite ends the test.
    let diverging = ["--num-iter", "20", "--start-lr", "1e36", "--end-lr", "1e38"];
    let (stdout, _) = success(lr_find(&diverging));
    assert!(stdout.contains("diverged"), "{stdout}");
    // Rates that are too low suggest nothing.
    let low = ["--num-iter", "20", "--end-lr", "1e-6"];
    let (stdout, _) = success(lr_find(&low));
    assert!(stdout.contains("raise --end-lr"), "{stdout}");
    assert!(!stdout.contains("Suggested"), "{stdout}");
    let message = failure(lr_find(&["--start-lr", "1", "--end-lr", "0.5"]), 2);
    assert!(
        message.contains("--start-lr 1: must be less than --end-lr 0.5"),
        "{message}"
    );
    let message = failure(mish(&["lr-find"]), 2);
    assert!(message.contains("name a network"), "{message}");
}
