//! The tables of the page.

use maud::{Markup, html};

use super::reported_run::ReportedRun;
use crate::page::head;
use crate::study::analysis::{Analysis, CellResult};
use crate::study::definition::plain;
use crate::study::statistics::welch_t_test;
use crate::study::wording::{interval, p_value};

/// What stands for a figure that is not defined.
const NONE: &str = "–";

/// The figures of each cell. The best and those that are not significantly worse are bold.
pub(super) fn cells(analysis: &Analysis) -> Markup {
    let metric = analysis.metric;
    let names = axis_names(analysis);
    let bold = not_worse_than_best(analysis);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend([
        "n",
        metric.title(),
        "std",
        "95 % interval",
        "BCa interval",
        "median",
    ]);
    columns.extend(analysis.published.iter().map(|column| column.name.as_str()));
    let failed = analysis.cells.iter().any(|cell| !cell.failures.is_empty());
    if failed {
        columns.push("failed");
    }
    html! {
        table {
            caption { "Means over the repetitions. Bold: the best, and all that are not worse at the 5 % level." }
            (head(&columns))
            tbody {
                @for (cell, bold) in analysis.cells.iter().zip(bold) {
                    tr {
                        @for (_, value) in &cell.axes { td { (plain(value)) } }
                        td { (cell.n) }
                        td {
                            @let mean = cell.summary.map_or(NONE.to_owned(), |s| metric.text(s.mean));
                            @if bold { strong { (mean) } } @else { (mean) }
                        }
                        @let summary = cell.summary.as_ref();
                        td { (summary.and_then(|s| s.std).map_or(NONE.to_owned(), |std| metric.text(std))) }
                        td { (summary.and_then(|s| s.ci95).map_or(NONE.to_owned(), |ci| interval(metric, ci))) }
                        td { (summary.and_then(|s| s.bca95).map_or(NONE.to_owned(), |ci| interval(metric, ci))) }
                        td { (summary.map_or(NONE.to_owned(), |s| metric.text(s.median))) }
                        @for (column, figure) in analysis.published.iter().zip(&cell.published) {
                            td { (figure.map_or(NONE.to_owned(), |figure| column.text(metric, &figure))) }
                        }
                        @if failed { td { (cell.failures.len()) } }
                    }
                }
            }
        }
    }
}

/// The names of the compared axes.
fn axis_names(analysis: &Analysis) -> Vec<String> {
    let axes = analysis.cells.first().map(|cell| &cell.axes);
    axes.into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether each cell is the best or not significantly worse by Welch's t-test, among the cells that
/// differ from it only in the baseline's axes.
fn not_worse_than_best(analysis: &Analysis) -> Vec<bool> {
    let sign = if analysis.metric.higher_is_better() {
        1.0
    } else {
        -1.0
    };
    let compared = |name: &str| {
        analysis.baseline.is_empty() || analysis.baseline.iter().any(|(key, _)| key == name)
    };
    let block = |cell: &CellResult| -> Vec<_> {
        let others = cell.axes.iter().filter(|(name, _)| !compared(name));
        others.cloned().collect()
    };
    let mean = |cell: &&CellResult| cell.summary.map_or(f64::NEG_INFINITY, |s| sign * s.mean);
    let not_worse = |cell: &CellResult| {
        let rivals = analysis.cells.iter();
        let rivals = rivals.filter(|other| other.n > 0 && block(other) == block(cell));
        let Some(best) = rivals.max_by(|a, b| mean(a).total_cmp(&mean(b))) else {
            return false;
        };
        let test = welch_t_test(&cell.values, &best.values);
        cell == best || test.is_some_and(|test| test.p >= 0.05)
    };
    analysis.cells.iter().map(not_worse).collect()
}

/// Each cell compared with the baseline.
pub(super) fn comparisons(analysis: &Analysis) -> Markup {
    let metric = analysis.metric;
    let names = axis_names(analysis);
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend([
        "difference",
        "95 % interval",
        "Holm p",
        "paired p",
        "Welch p",
        "Mann-Whitney p",
        "Cohen's d",
        "superiority",
    ]);
    columns.extend(analysis.published.iter().map(|column| column.name.as_str()));
    let p = |p: Option<f64>| p.map_or(NONE.to_owned(), p_value);
    html! {
        table {
            caption { "Differences from the baseline. Superiority: the probability that a run has a higher value than one of the baseline." }
            (head(&columns))
            tbody {
                @for row in &analysis.comparisons {
                    tr {
                        @for (_, value) in &row.axes { td { (plain(value)) } }
                        td { (metric.difference(row.difference)) }
                        td { (row.ci95.map_or(NONE.to_owned(), |ci| interval(metric, ci))) }
                        td { (p(row.holm_p)) } td { (p(row.paired_p)) } td { (p(row.welch_p)) }
                        td { (p(row.mann_whitney_p)) }
                        td {
                            (row.cohens_d.map_or(NONE.to_owned(), |d| format!("{d:.2}")))
                            @if let Some(ci) = row.cohens_d_ci95 {
                                small { (format!(" ({:.2} to {:.2})", ci.low, ci.high)) }
                            }
                        }
                        td { (row.superiority.map_or(NONE.to_owned(), |share| format!("{share:.2}"))) }
                        @for difference in &row.published {
                            td { (difference.map_or(NONE.to_owned(), |difference| metric.difference(difference))) }
                        }
                    }
                }
            }
        }
    }
}

/// The runs with links to their folders.
pub(super) fn runs(runs: &[ReportedRun]) -> Markup {
    html! {
        table {
            (head(&["run", "state", "epochs"]))
            tbody {
                @for run in runs {
                    tr {
                        td { @if run.records.is_empty() { (run.name) } @else { a href=(run.link) { (run.name) } } }
                        td { (run.state) }
                        td { (run.records.len()) }
                    }
                }
            }
        }
    }
}
