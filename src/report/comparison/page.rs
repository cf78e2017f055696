//! A comparison as a web page and as curves.

use maud::{Markup, html};

use super::Comparison;
use crate::page::{Curve, LineChart, definitions, document, standalone, wide};
use crate::report::stored_run::StoredRun;
use crate::train::EpochRecord;

impl Comparison {
    /// A web page in a single file without scripts and external resources.
    pub fn page(&self) -> String {
        let same = self.same();
        let body = html! {
            p.note {
                "The metrics of each run, and the settings that differ. Metrics of finished runs are "
                "those on the test images."
            }
            (wide("The runs", &self.table()))
            div.charts { @for chart in self.charts() { figure { (chart.svg()) } } }
            @if !same.is_empty() {
                details {
                    summary { "Settings that are the same in all runs" }
                    (definitions(same))
                }
            }
        };
        document(&self.title(), "", &body)
    }

    /// The curves of all runs as an SVG file.
    pub fn svg(&self) -> String {
        standalone(&self.title(), &self.charts())
    }

    fn title(&self) -> String {
        match self.runs() {
            [(name, _)] => name.clone(),
            runs => format!("{} runs", runs.len()),
        }
    }

    fn table(&self) -> Markup {
        let figures = self.figures();
        html! {
            table {
                thead {
                    tr {
                        th scope="col" { "run" }
                        @for name in self.differing() { th scope="col" { (Self::heading(name)) } }
                        @for figure in &figures { th scope="col" { (figure.heading()) } }
                    }
                }
                tbody {
                    @for (name, run) in self.runs() {
                        tr {
                            th scope="row" { (name) }
                            @for setting in self.differing() {
                                td { (run.setting(setting).unwrap_or_default()) }
                            }
                            @for figure in &figures { td { (figure.text(run)) } }
                        }
                    }
                }
            }
        }
    }

    /// Top-1 and loss of the evaluation, and the training loss.
    fn charts(&self) -> [LineChart; 3] {
        let chart = |title: &str, value: fn(&EpochRecord) -> f64| {
            let curve = |(style, (name, run)): (usize, &(String, StoredRun))| Curve {
                name: name.clone(),
                style,
                points: run
                    .records
                    .iter()
                    .map(|record| (record.epoch as f64, value(record)))
                    .collect(),
            };
            LineChart {
                title: title.to_string(),
                x: "epoch",
                curves: self.runs().iter().enumerate().map(curve).collect(),
            }
        };
        [
            chart("top-1 of the evaluation, %", |record| 100.0 * record.top1),
            chart("loss of the evaluation", |record| record.loss),
            chart("training loss", |record| record.train_loss),
        ]
    }
}
