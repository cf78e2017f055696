//! The runs of a study as CSV: one line for each run.

use candle_mish::study::{Metric, Outcome, PlannedRun, Study, plain};

use crate::csv::quoted;

/// One line for each run: its values of the axes, its state, every metric, the best epoch and why it
/// failed. Accuracies are fractions.
pub(super) fn runs(study: &Study, runs: &[PlannedRun], outcomes: &[Outcome]) -> String {
    let axes: Vec<&str> = study.axes.iter().map(|axis| axis.name.as_str()).collect();
    let header = axes.iter().copied().chain(["state"]);
    let header = header.chain(Metric::ALL.map(Metric::name));
    let header = header.chain(["best_epoch", "reason"]);
    let mut text = header.map(quoted).collect::<Vec<_>>().join(",") + "\n";
    for (run, outcome) in runs.iter().zip(outcomes) {
        let value = |axis: &&str| {
            let found = run.settings.iter().find(|(name, _)| name == axis);
            found.map_or_else(String::new, |(_, value)| plain(value))
        };
        let mut fields: Vec<String> = axes.iter().map(value).collect();
        fields.push(outcome.state().to_owned());
        let figures = Metric::ALL.map(|metric| optional(metric.of(outcome)));
        fields.extend(figures);
        fields.extend(match outcome {
            Outcome::Finished(summary) => [summary.best_epoch.to_string(), String::new()],
            Outcome::Failed(failure) => [String::new(), failure.reason.clone()],
            _ => [String::new(), String::new()],
        });
        let line: Vec<_> = fields.iter().map(|text| quoted(text)).collect();
        text += &(line.join(",") + "\n");
    }
    text
}

/// A figure that some runs lack.
fn optional(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| figure.to_string())
}
