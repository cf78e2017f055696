//! Definitions of studies and the runs that they list.

use candle_mish::study::{Metric, Study};
use toml::Value;

const TOML: &str = r#"
title = "Activations"
metric = "final_top1"
baseline = { activation = "relu" }

[base]
model = "resnet20"
epochs = 10

[axes]
seed = [0, 1]
lr = [0.1, 0.3]
activation = ["relu", "leaky_relu:0.1", "mish"]

[budgets.smoke.base]
epochs = 1

[budgets.smoke.axes]
seed = [7]
"#;

fn read(text: &str) -> Study {
    Study::from_toml(text, None).expect("a study")
}

fn error(text: &str) -> String {
    Study::from_toml(text, None)
        .expect_err("an error")
        .to_string()
}

#[test]
fn runs_are_all_combinations_in_a_balanced_order() {
    let study = read(TOML);
    assert_eq!(study.metric, Metric::FinalTop1);
    assert_eq!(study.paired_by, ["seed"]);
    let names: Vec<String> = study.runs().into_iter().map(|run| run.name).collect();
    assert_eq!(names.len(), 12);
    // The axes keep the order of the file, and the first seed comes first.
    assert_eq!(names[0], "lr=0.1,activation=relu,seed=0");
    assert_eq!(names[1], "lr=0.1,activation=leaky_relu%3a0.1,seed=0");
    assert_eq!(names[5], "lr=0.3,activation=mish,seed=0");
    assert_eq!(names[6], "lr=0.1,activation=relu,seed=1");
    let run = &study.runs()[5];
    let settings: Vec<String> = run
        .settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    assert_eq!(
        settings,
        [
            "epochs = 10",
            "model = \"resnet20\"",
            "lr = 0.3",
            "activation = \"mish\"",
            "seed = 0"
        ]
    );
    assert_eq!((run.cell, run.repetition), (5, 0));
}

#[test]
fn a_budget_replaces_values() {
    let study = Study::from_toml(TOML, Some("smoke")).expect("a study");
    assert_eq!(study.runs().len(), 6);
    assert!(study.runs()[0].name.ends_with("seed=7"));
    let error = Study::from_toml(TOML, Some("huge")).expect_err("no such budget");
    assert_eq!(error.to_string(), "unknown budget 'huge'; one of smoke");
}

#[test]
fn set_replaces_options_and_values_of_axes() {
    let mut study = read(TOML);
    study.set("epochs", Value::Integer(3)).expect("an option");
    study.set("opt", "adam".into()).expect("a new option");
    let seeds = vec![Value::Integer(5)];
    study.set("seed", seeds.into()).expect("values of an axis");
    let same = TOML.replace("epochs = 10", "epochs = 3\nopt = \"adam\"");
    assert_eq!(study, read(&same.replace("[0, 1]", "[5]")));
    let unchanged = study.clone();
    for (name, value, message) in [
        (
            "seed",
            Value::Integer(4),
            "the study varies 'seed'; give a list, such as seed=[4]",
        ),
        (
            "seed",
            Value::Array(Vec::new()),
            "axis 'seed' has no values",
        ),
        (
            "activation",
            vec![Value::from("mish")].into(),
            "the baseline has activation = \"relu\", which axis 'activation' lacks",
        ),
    ] {
        let error = study.set(name, value).expect_err("an error");
        assert_eq!(error.to_string(), message);
        assert_eq!(study, unchanged);
    }
}

#[test]
fn a_study_in_toml_reads_the_same() {
    for budget in [None, Some("smoke")] {
        let study = Study::from_toml(TOML, budget).expect("a study");
        assert_eq!(read(&study.to_toml()), study);
    }
}

#[test]
fn errors_name_the_line_or_the_key() {
    for (text, message) in [
        (
            "metric = 'top9'\n[axes]\nseed = [0]",
            "line 1: unknown variant `top9`",
        ),
        (
            "[axes]\nseed = 3",
            "line 2: invalid type: integer `3`, expected a sequence",
        ),
        (
            "[axes]\nseed = [0]\n[extra]",
            "line 3: unknown field `extra`",
        ),
        ("[base]\nepochs = 1", "missing field `axes`"),
        ("[axes]\nseed = []", "axis 'seed' has no values"),
        ("[axes]\nseed = [1, 1]", "axis 'seed' has 1 twice"),
        (
            "[base]\nseed = 0\n[axes]\nseed = [1]",
            "'seed' is in the base and in the axes; keep one",
        ),
        (
            "paired_by = ['lr']\n[axes]\nseed = [1]",
            "paired_by names 'lr', which is no axis",
        ),
        (
            "baseline = { lr = 0.1 }\n[axes]\nseed = [1]",
            "the baseline names 'lr', which is no axis",
        ),
        (
            "baseline = { seed = 1 }\n[axes]\nseed = [1]",
            "the baseline names 'seed', by which runs are paired",
        ),
        (
            "baseline = { lr = 0.2 }\n[axes]\nlr = [0.1]",
            "the baseline has lr = 0.2, which axis 'lr' lacks",
        ),
    ] {
        let error = error(text);
        assert!(error.contains(message), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
