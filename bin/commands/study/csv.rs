//! The runs of a study as CSV: one line for each run.

use candle_mish::study::{Metric, Outcome, PlannedRun, Study, plain};

use crate::csv::quoted;

/// The columns after the axes.
const FIGURES: [&str; 11] = [
    "state",
    "final_top1",
    "final_top5",
    "final_loss",
    "best_top1",
    "best_epoch",
    "final_ema_top1",
    "best_ema_top1",
    "seconds",
    "milliseconds",
    "reason",
];

/// One line for each run: its values of the axes, then its figures. Accuracies are fractions.
pub(super) fn runs(study: &Study, runs: &[PlannedRun], outcomes: &[Outcome]) -> String {
    let axes: Vec<&str> = study.axes.iter().map(|axis| axis.name.as_str()).collect();
    let header = axes.iter().copied().chain(FIGURES).map(quoted);
    let mut text = header.collect::<Vec<_>>().join(",") + "\n";
    for (run, outcome) in runs.iter().zip(outcomes) {
        let value = |axis: &&str| {
            let found = run.settings.iter().find(|(name, _)| name == axis);
            found.map_or_else(String::new, |(_, value)| plain(value))
        };
        let figures = match outcome {
            Outcome::Missing => blank("missing"),
            Outcome::Started => blank("unfinished"),
            Outcome::Failed(failure) => {
                let mut figures = blank("failed");
                figures[FIGURES.len() - 1].clone_from(&failure.reason);
                figures
            }
            Outcome::Finished(summary) => vec![
                "finished".to_owned(),
                summary.final_top1.to_string(),
                summary.final_top5.to_string(),
                summary.final_loss.to_string(),
                summary.best_top1.to_string(),
                summary.best_epoch.to_string(),
                optional(Metric::FinalEmaTop1.of(outcome)),
                optional(Metric::BestEmaTop1.of(outcome)),
                summary.seconds.to_string(),
                String::new(),
                String::new(),
            ],
            Outcome::Timed(timed) => {
                let mut figures = blank("finished");
                figures[FIGURES.len() - 2] = timed.milliseconds.to_string();
                figures
            }
        };
        let fields: Vec<String> = axes.iter().map(value).chain(figures).collect();
        let line: Vec<_> = fields.iter().map(|text| quoted(text)).collect();
        text += &(line.join(",") + "\n");
    }
    text
}

/// A figure that some runs lack.
fn optional(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| figure.to_string())
}

fn blank(state: &str) -> Vec<String> {
    let mut figures = vec![String::new(); FIGURES.len()];
    figures[0] = state.to_owned();
    figures
}
