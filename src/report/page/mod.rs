//! The report of a run as a web page in a single file.

mod calibration;
mod confusion;
mod curves;
mod mistakes;
mod sources;
mod values;

use maud::{Markup, html};

use super::error::ReportError;
use super::run_report::RunReport;
use super::time::duration;
use crate::eval::Estimate;
use crate::page::{definitions, document, wide};
use values::{calibration_of, percent};

/// What only this page needs.
const STYLE: &str = "
table.matrix { font-size: .8rem; } table.matrix th, table.matrix td { padding: .1rem .3rem; border: 0; }
table.matrix td { min-width: 1.6rem; text-align: center; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
table.matrix thead th { vertical-align: bottom; text-align: left; }
table.matrix thead th span { writing-mode: vertical-rl; transform: rotate(180deg); }
table.matrix td.right { outline: 1px solid var(--line); outline-offset: -1px; }
div.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
div.images figure { margin: 0; } div.images img { width: 6rem; height: 6rem; object-fit: contain; image-rendering: pixelated; }
div.images figcaption { font-size: .87rem; line-height: 1.35; opacity: 1; }
div.columns { display: flex; flex-wrap: wrap; gap: 1rem 3rem; align-items: flex-start; }
code { font-size: .87rem; overflow-wrap: anywhere; }
";

impl RunReport<'_> {
    /// A web page in a single file without scripts and external resources.
    ///
    /// # Errors
    /// If the run has no finished epoch, or a test image cannot be read.
    pub fn page(&self) -> Result<String, ReportError> {
        if self.run.records.is_empty() {
            return Err(ReportError::NoEpoch(self.run.folder.clone()));
        }
        render(self)
    }
}

fn render(report: &RunReport<'_>) -> Result<String, ReportError> {
    let body = html! {
        p { (verdict(report)) }
        (definitions(figures(report)))
        h2 { "Curves" }
        div.charts { @for chart in curves::charts(report.run) { figure { (chart.svg()) } } }
        details {
            summary { "Figures of all epochs" }
            (wide("Figures of all epochs", &curves::table(report.run)))
        }
        h2 { "Confusion" }
        (confusion::matrix(report))
        h2 { "Classes" }
        div.columns { (confusion::hardest_classes(report)) (confusion::pairs(report)) }
        h2 { "Wrong images" }
        (mistakes::images(report)?)
        h2 { "Calibration" }
        (calibration::section(report))
        h2 { "Configuration" }
        pre { (report.run.config.trim_end()) }
        h2 { "Environment" }
        (sources::environment(report.run))
        h2 { "Provenance" }
        (sources::files(report))
    };
    Ok(document(&title(report), STYLE, &body))
}

fn title(report: &RunReport<'_>) -> String {
    let setting = |name| report.run.setting(name).unwrap_or("unknown");
    format!(
        "{} with {} on {}",
        setting("model"),
        setting("activation"),
        report.dataset.name
    )
}

/// A sentence about the run.
fn verdict(report: &RunReport<'_>) -> Markup {
    let run = report.run;
    let (done, epochs) = (run.records.len(), run.epochs());
    let correct = report.predictions.iter().filter(|p| p.is_correct()).count();
    let top1 = Estimate::proportion(correct, report.predictions.len());
    html! {
        "After " (done) @if done == 1 { " epoch" } @else { " epochs" }
        " the last weights classify " (percent(top1.value))
        " of the " (report.predictions.len()) " test images correctly (95 % interval "
        (percent(top1.low)) " to " (percent(top1.high)) ")."
        @if !run.is_finished() {
            " " strong { "The run is not finished: " (done) " of " (epochs) " epochs." }
        }
    }
}

/// The figures of the run by name.
fn figures(report: &RunReport<'_>) -> Vec<(&'static str, String)> {
    let (run, predictions) = (report.run, report.predictions);
    let images = predictions.len().max(1) as f64;
    let below = |rank: usize| predictions.iter().filter(|p| p.rank < rank).count() as f64 / images;
    let loss = predictions.iter().map(|p| p.loss).sum::<f64>() / images;
    let mut figures = vec![
        ("Top-1", percent(below(1))),
        ("Top-5", percent(below(5))),
        ("Loss", format!("{loss:.4}")),
        (
            "Calibration error (ECE)",
            percent(calibration_of(report).error()),
        ),
    ];
    if let Some(best) = run.best() {
        let chosen = run
            .summary
            .as_ref()
            .and_then(|summary| summary.best_chosen_on);
        let chosen = chosen.map(|set| format!(", chosen on the {set} images"));
        let top1 = run
            .summary
            .as_ref()
            .map_or(best.top1, |summary| summary.best_top1);
        let text = format!(
            "{} in epoch {}{}",
            percent(top1),
            best.epoch,
            chosen.unwrap_or_default()
        );
        figures.push(("Best top-1", text));
    }
    if let Some(ema) = run.records.last().and_then(|record| record.ema) {
        figures.push(("Top-1 of the EMA", percent(ema.top1)));
    }
    if let Some(summary) = &run.summary {
        figures.push(("Parameters", summary.params.to_string()));
        figures.push((
            "Training images per epoch",
            summary.train_images.to_string(),
        ));
        let speed = format!("{:.0} images per second", summary.train_images_per_second);
        figures.push(("Training speed", speed));
    }
    let seconds = run.records.iter().map(|record| record.seconds).sum();
    figures.push(("Time of all epochs", duration(seconds)));
    figures
}
