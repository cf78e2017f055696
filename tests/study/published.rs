//! Published figures next to the results.

use candle_mish::study::{Metric, Outcome, Study};
use serde_json::json;

use crate::support::summary;

const TOML: &str = r#"
baseline = { activation = "relu" }

[base]
dataset = "cifar100"
epochs = 10

[axes]
model = ["a", "b"]
activation = ["relu", "mish"]
seed = [0, 1]

[[published]]
source = "A paper, table 2"
approximate = true
note = "Single runs."
setting = { dataset = "cifar10", epochs = 10, lr = 0.1, model = "a" }
figures = [
    { model = "a", activation = "mish", value = 75.6, std = 0.5, n = 3 },
    { model = "a", activation = "relu", value = 71.7 },
]

[[published]]
name = "time"
metric = "seconds"
source = "A paper, table 3"
figures = [{ activation = "mish", value = 40 }]

[[published]]
name = "elsewhere"
source = "Another paper"
figures = [{ activation = "gelu", value = 80.0 }]
"#;

fn study() -> Study {
    Study::from_toml(TOML, None).expect("a study")
}

/// All runs finished.
fn outcomes() -> Vec<Outcome> {
    let run = |i: usize| Outcome::Finished(Box::new(summary(0.5 + 0.01 * i as f64)));
    (0..8).map(run).collect()
}

#[test]
fn cells_and_comparisons_have_the_figures_of_their_settings() {
    let analysis = study().analyse(&outcomes()).expect("figures");
    let names: Vec<&str> = analysis.published.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        ["published"],
        "only figures of the metric and of cells"
    );
    let values: Vec<Option<f64>> = analysis
        .cells
        .iter()
        .map(|cell| cell.published[0].map(|figure| figure.value))
        .collect();
    let [relu, mish] = [71.7 / 100.0, 75.6 / 100.0];
    assert_eq!(values, [Some(relu), Some(mish), None, None]);
    let differences: Vec<Option<f64>> = analysis
        .comparisons
        .iter()
        .map(|comparison| comparison.published[0])
        .collect();
    assert_eq!(differences, [Some(mish - relu), None]);
    let json = serde_json::to_value(&analysis).expect("JSON");
    assert_eq!(
        json["cells"][1]["published"],
        json!([{ "value": mish, "std": 0.005, "n": 3 }])
    );
    assert_eq!(json["published"][0]["differences"][0]["option"], "dataset");
}

#[test]
fn the_metric_selects_the_figures() {
    for (metric, names) in [
        (Metric::BestTop1, &["published"][..]),
        (Metric::FinalEmaTop1, &["published"]),
        (Metric::FinalTop5, &[]),
        (Metric::Seconds, &["time"]),
    ] {
        let study = Study { metric, ..study() };
        let missing = vec![Outcome::Missing; 8];
        let analysis = study.analyse(&missing).expect("no runs");
        let shown: Vec<&str> = analysis.published.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(shown, names, "{}", metric.name());
    }
    let time = Study {
        metric: Metric::Seconds,
        ..study()
    };
    let analysis = time.analyse(&outcomes()).expect("figures");
    let figure = analysis.cells[3].published[0].expect("a figure of all models");
    assert_eq!(figure.value, 40.0);
}

#[test]
fn the_text_names_source_and_differences() {
    let analysis = study().analyse(&outcomes()).expect("figures");
    let column = &analysis.published[0];
    let figure = analysis.cells[1].published[0].expect("a figure");
    assert_eq!(
        column.text(analysis.metric, &figure),
        "≈ 75.60 ± 0.50, n = 3"
    );
    assert_eq!(
        column.description(),
        "published: A paper, table 2. The figures are read off a plot. Another setting: dataset \
         cifar10 (here cifar100), lr 0.1 (here the default). Single runs."
    );
}

#[test]
fn a_folder_keeps_the_figures() {
    let study = study();
    let read = Study::from_toml(&study.to_toml(), None).expect("a study");
    assert_eq!(read, study);
    assert_eq!(read.published.len(), 3);
}

#[test]
fn figures_of_unknown_axes_are_errors() {
    let error = |from: &str, to: &str| {
        let text = TOML.replace(from, to);
        let study = Study::from_toml(&text, None);
        study.expect_err("an error").to_string()
    };
    let unknown = error("{ activation = \"gelu\"", "{ activtion = \"gelu\"");
    assert_eq!(
        unknown,
        "a published figure names 'activtion', which is no axis"
    );
    let repeated = error(
        "{ activation = \"gelu\"",
        "{ seed = 0, activation = \"gelu\"",
    );
    assert_eq!(
        repeated,
        "a published figure names 'seed', by which runs are paired"
    );
    assert!(error("name = \"time\"", "nam = \"time\"").contains("unknown field `nam`"));
    assert!(error("value = 80.0", "val = 80.0").contains("missing field `value`"));
}
