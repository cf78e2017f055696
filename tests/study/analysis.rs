//! From outcomes to figures, sentences and the page.

use candle_mish::study::statistics::{mean, paired_t_test, welch_t_test};
use candle_mish::study::{
    Analysis, Failure, Metric, Outcome, Place, ReportedRun, Study, StudyReport,
};
use candle_mish::train::{Recipe, Summary};
use serde_json::{Value, json};

use crate::support::summary;

const TOML: &str = r#"
title = "Activations <on> a network"
description = "A test."
baseline = { activation = "relu" }
[base]
epochs = 10
[axes]
model = ["a", "b", "c"]
activation = ["relu", "silu", "mish"]
seed = [0, 1, 2]
"#;

/// Accuracies in the order of the runs: a better activation is 2 points better, seeds add their own
/// effect and some noise.
fn accuracy(model: usize, activation: usize, seed: usize) -> f64 {
    let noise = [0.001, -0.002, 0.0005, -0.0001, 0.0015][(model + 2 * activation + 3 * seed) % 5];
    0.5 + 0.1 * model as f64 + [0.0, 0.001, 0.02][activation] + 0.003 * seed as f64 + noise
}

fn outcomes() -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for seed in 0..3 {
        for model in 0..3 {
            for activation in 0..3 {
                let summary = summary(accuracy(model, activation, seed));
                outcomes.push(Outcome::Finished(Box::new(summary)));
            }
        }
    }
    outcomes
}

fn study() -> Study {
    Study::from_toml(TOML, None).expect("a study")
}

fn analyse(outcomes: &[Outcome]) -> Analysis {
    study().analyse(outcomes).expect("figures")
}

fn json_of(analysis: &Analysis) -> Value {
    serde_json::to_value(analysis).expect("JSON")
}

#[test]
fn cells_and_comparisons_have_the_figures_of_their_values() {
    let analysis = analyse(&outcomes());
    assert_eq!(
        (analysis.planned, analysis.finished, analysis.failed),
        (27, 27, 0)
    );
    let json = json_of(&analysis);
    let cell = &json["cells"][5];
    assert_eq!(
        (&cell["model"], &cell["activation"]),
        (&json!("b"), &json!("mish"))
    );
    let values = [0, 1, 2].map(|seed| accuracy(1, 2, seed));
    assert_eq!(cell["values"], json!(values));
    assert_eq!(cell["mean"], json!(mean(&values)));
    assert_eq!(cell["n"], 3);
    assert_eq!(cell["ci95"].as_array().map(Vec::len), Some(2));
    // Each activation but the baseline on each network.
    let comparisons = json["comparisons"].as_array().expect("comparisons");
    assert_eq!(comparisons.len(), 6);
    let comparison = &comparisons[3];
    assert_eq!(
        (&comparison["model"], &comparison["activation"]),
        (&json!("b"), &json!("mish"))
    );
    let baseline = [0, 1, 2].map(|seed| accuracy(1, 0, seed));
    let paired = paired_t_test(&values, &baseline).expect("a test");
    assert_eq!(comparison["paired_p"], json!(paired.p));
    assert_eq!(comparison["difference"], json!(paired.difference));
    assert_eq!(
        comparison["ci95"],
        json!([paired.ci95.low, paired.ci95.high])
    );
    let welch = welch_t_test(&values, &baseline).expect("a test");
    assert_eq!(comparison["welch_p"], json!(welch.p));
    for comparison in comparisons {
        let (paired, holm) = (&comparison["paired_p"], &comparison["holm_p"]);
        assert!(paired.as_f64() <= holm.as_f64(), "{comparison}");
    }
}

#[test]
fn settings_are_compared_over_networks() {
    let analysis = analyse(&outcomes());
    let [silu, mish] = &analysis.overall[..] else {
        panic!("{:?}", analysis.overall);
    };
    assert_eq!((mish.blocks, mish.wins, mish.losses), (3, 3, 0));
    assert!((mish.difference - 0.02).abs() < 0.002, "{mish:?}");
    assert_eq!(silu.ties, 3);
    let ranking = analysis
        .ranking
        .as_ref()
        .expect("three settings and networks");
    let ranks: Vec<f64> = ranking
        .settings
        .iter()
        .map(|setting| setting.mean_rank)
        .collect();
    assert_eq!(ranks.iter().sum::<f64>(), 6.0);
    assert_eq!(ranks[2], 1.0, "mish is first everywhere");
}

#[test]
fn an_unfinished_study_compares_what_it_has() {
    let mut outcomes = outcomes();
    outcomes[2] = Outcome::Missing;
    outcomes[20] = Outcome::Failed(Failure {
        reason: "the loss is NaN".to_owned(),
    });
    outcomes[26] = Outcome::Started;
    let analysis = analyse(&outcomes);
    assert_eq!((analysis.finished, analysis.failed), (24, 1));
    // Mish on the first network has only seed 1 left.
    let cell = &analysis.cells[2];
    assert_eq!((cell.n, cell.failures.len()), (1, 1));
    let comparison = &analysis.comparisons[1];
    assert_eq!(
        (comparison.n, comparison.pairs, comparison.paired_p),
        ([1, 3], 1, None)
    );
    let nothing = vec![Outcome::Missing; 27];
    let empty = analyse(&nothing);
    assert!(empty.comparisons.is_empty() && empty.ranking.is_none());
    assert_eq!(json_of(&empty)["cells"][0]["n"], 0);
}

#[test]
fn findings_say_what_was_not_seen() {
    let findings = analyse(&outcomes()).findings();
    let of = |name: &str| {
        let found = findings.iter().find(|text| text.starts_with(name));
        found.unwrap_or_else(|| panic!("{name}: {findings:#?}"))
    };
    let silu = of("model a, activation silu");
    assert!(
        silu.contains("no difference from the baseline found"),
        "{silu}"
    );
    assert!(silu.contains("would probably miss differences"), "{silu}");
    let mish = of("activation mish over 3 other settings");
    assert!(mish.contains("3 better, 0 undecided, 0 worse"), "{mish}");
}

#[test]
fn the_page_holds_tables_plots_and_findings() {
    let study = study();
    let analysis = analyse(&outcomes());
    let runs: Vec<ReportedRun> = study
        .runs()
        .into_iter()
        .map(|run| ReportedRun {
            link: format!("runs/{}/", run.name),
            name: run.name,
            state: "finished".to_owned(),
            cell: run.cell,
            records: Vec::new(),
        })
        .collect();
    let report = StudyReport {
        study: &study,
        analysis: &analysis,
        runs: &runs,
        place: None,
        command: "mish study run x",
    };
    let page = report.page();
    assert!(page.contains("Activations &lt;on&gt; a network"), "escaped");
    assert!(page.contains("Critical-difference diagram"));
    assert_eq!(
        page.matches("<strong>").count(),
        3,
        "the best of each network is not bold"
    );
    assert!(page.contains("mish study run x") && !page.contains("<script"));
    for finding in analysis.findings() {
        let escaped = finding.replace('<', "&lt;");
        assert!(page.contains(&escaped), "{finding}");
    }
}

#[test]
fn a_single_run_is_not_called_the_best() {
    let study = study();
    let outcomes = outcomes();
    let bold = |finished: usize| {
        let mut outcomes = outcomes.clone();
        outcomes[finished..].fill(Outcome::Missing);
        let report = StudyReport {
            study: &study,
            analysis: &analyse(&outcomes),
            runs: &[],
            place: None,
            command: "",
        };
        let page = report.page();
        assert_eq!(page.contains("Bold: the best"), page.contains("<strong>"));
        page.matches("<strong>").count()
    };
    // All runs of one seed, then of two.
    assert_eq!(bold(9), 0);
    assert!(bold(18) >= 3);
}

#[test]
fn the_page_of_times_says_where_they_were_measured() {
    let place = Place {
        device: "cpu".to_owned(),
        threads: 3,
        processor: "Z80".to_owned(),
    };
    let report = StudyReport {
        study: &study(),
        analysis: &analyse(&outcomes()),
        runs: &[],
        place: Some(&place),
        command: "",
    };
    let page = report.page();
    for part in ["device", "cpu", "threads", "processor", "Z80"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_axis_of_accuracies_ends_at_100_percent() {
    let study = study();
    let mut outcomes = outcomes();
    for (seed, top1) in [0.39, 0.6, 0.99].into_iter().enumerate() {
        outcomes[9 * seed] = Outcome::Finished(Box::new(summary(top1)));
    }
    let analysis = analyse(&outcomes);
    let ci95 = analysis.cells[0]
        .summary
        .as_ref()
        .and_then(|cell| cell.ci95);
    assert!(ci95.expect("an interval").high > 1.2);
    let report = StudyReport {
        study: &study,
        analysis: &analysis,
        runs: &[],
        place: None,
        command: "",
    };
    let page = report.page();
    assert!(page.contains(">100</text>"), "{page}");
    assert!(!page.contains(">120</text>"), "{page}");
}

/// The outcome of a run with an average of the weights that is 10 and 20 points better.
fn averaged(top1: f64) -> Outcome {
    let evaluation = |top1: f64| json!({ "images": 1, "loss": 1.0, "top1": top1, "top5": 1.0 });
    let mut fields = serde_json::to_value(summary(top1)).expect("JSON");
    fields["ema"] = json!({
        "best_epoch": 9, "best": evaluation(top1 + 0.2), "last": evaluation(top1 + 0.1)
    });
    let summary: Summary = serde_json::from_value(fields).expect("a summary");
    Outcome::Finished(Box::new(summary))
}

#[test]
fn metrics_of_averaged_weights_need_an_average() {
    let mut outcomes = vec![Outcome::Missing; 27];
    outcomes[0] = averaged(0.5);
    for (metric, value) in [
        (Metric::FinalTop1, 0.5),
        (Metric::FinalEmaTop1, 0.6),
        (Metric::BestEmaTop1, 0.7),
    ] {
        let study = Study { metric, ..study() };
        let analysis = study.analyse(&outcomes).expect("figures");
        assert_eq!(analysis.cells[0].values, [value], "{}", metric.name());
    }
    let study = Study {
        metric: Metric::BestEmaTop1,
        ..study()
    };
    outcomes[1] = Outcome::Finished(Box::new(summary(0.5)));
    let error = study.analyse(&outcomes).expect_err("no average");
    let expected = "run model=a,activation=silu,seed=0 has no best_ema_top1: it needs model_ema";
    assert!(error.to_string().starts_with(expected), "{error}");
    let with = |model_ema| Recipe {
        model_ema,
        ..Recipe::default()
    };
    assert!(study.metric.check("r", &with(true)).is_ok());
    assert!(study.metric.check("r", &with(false)).is_err());
    assert!(Metric::FinalLoss.check("r", &with(false)).is_ok());
}

#[test]
fn metrics_have_their_names_in_files() {
    for metric in Metric::ALL {
        assert_eq!(json!(metric), json!(metric.name()));
        assert_eq!(Metric::from_name(metric.name()), Some(metric));
    }
    assert_eq!(Metric::from_name("top1"), None);
}
