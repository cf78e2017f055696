//! The report of a study as a web page in a single file.

mod blocks;
mod charts;
mod reported_run;
mod tables;

use maud::html;
use toml::Value;

pub use reported_run::ReportedRun;

use super::analysis::Analysis;
use super::definition::{Study, WITHOUT_EFFECT, plain};
use super::outcome::Place;
use crate::page::{definitions, document, wide};

/// Everything that the page shows.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyReport<'a> {
    /// The study.
    pub study: &'a Study,
    /// Its results.
    pub analysis: &'a Analysis,
    /// Its runs.
    pub runs: &'a [ReportedRun],
    /// Where a study of times measured them.
    pub place: Option<&'a Place>,
    /// The command that repeats the study.
    pub command: &'a str,
}

impl StudyReport<'_> {
    /// A web page with tables and plots, in a single file without external resources.
    pub fn page(&self) -> String {
        let Self {
            study, analysis, ..
        } = self;
        let title = match study.title.as_str() {
            "" => "Study",
            title => title,
        };
        let matters = |(name, _): &&(String, Value)| !WITHOUT_EFFECT.contains(&name.as_str());
        let base = study
            .base
            .iter()
            .filter(matters)
            .map(|(name, value)| (name.clone(), plain(value)))
            .chain(self.place.into_iter().flat_map(described));
        let axes = study.axes.iter().map(|axis| {
            let values: Vec<String> = axis.values.iter().map(plain).collect();
            (axis.name.clone(), values.join(", "))
        });
        let body = html! {
            p { (study.description) }
            p {
                (analysis.finished) " of " (analysis.planned) " runs are finished"
                @if analysis.failed > 0 { ", " (analysis.failed) " failed" }
                "."
            }
            h2 { "Setting" }
            (definitions(base))
            h3 { "Every combination of" }
            (definitions(axes))
            h2 { "Results" }
            (wide("Results", &tables::cells(analysis)))
            @for column in &analysis.published { p.note { (column.description()) } }
            (wide("Results as a plot", &charts::strips(analysis)))
            @if !analysis.comparisons.is_empty() {
                h2 { "Compared with " (super::wording::describe(&study.baseline)) }
                (wide("Comparisons", &tables::comparisons(analysis)))
            }
            @let findings = analysis.findings();
            @if !findings.is_empty() {
                h2 { "What this shows" }
                ul { @for finding in &findings { li { (finding) } } }
                p.note {
                    "Intervals and tests treat the seeds as a random sample. They say nothing about "
                    "other recipes, networks or data sets."
                }
            }
            @if let Some(ranking) = &analysis.ranking {
                h2 { "Ranks" }
                (wide("Critical-difference diagram", &charts::ranks(ranking)))
            }
            @let curves = charts::curves(analysis, self.runs);
            @if !curves.is_empty() {
                h2 { "Training" }
                p.note { "Means over runs, up to the end of the shortest, with bands of one standard deviation." }
                div.charts { @for chart in &curves { figure { (chart) } } }
            }
            h2 { "Runs" }
            details {
                summary { (self.runs.len()) " runs with links to their folders" }
                (wide("Runs", &tables::runs(self.runs)))
            }
            h2 { "Repeat" }
            pre { (self.command) }
        };
        document(title, charts::STYLE, &body)
    }
}

/// The parts of a place and their names.
fn described(place: &Place) -> Vec<(String, String)> {
    let mut parts = vec![
        ("device".to_owned(), place.device.clone()),
        ("threads".to_owned(), place.threads.to_string()),
    ];
    if !place.processor.is_empty() {
        parts.push(("processor".to_owned(), place.processor.clone()));
    }
    parts
}
