//! The tables of the page.

use std::cmp::Ordering::Equal;

use maud::{Markup, html};

use super::blocks::blocks;
use super::reported_run::ReportedRun;
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
    let caption = if bold.contains(&true) {
        "Means over the repetitions. Bold: the best, and all that are not worse at the 5 % level."
    } else {
        "Means over the repetitions."
    };
    let failed = analysis.cells.iter().any(|cell| !cell.failures.is_empty());
    if failed {
        columns.push("failed");
    }
    html! {
        table {
            caption { (caption) }
            (head(names.len(), &columns))
            tbody {
                @for (cell, bold) in analysis.cells.iter().zip(bold) {
                    tr {
                        @for (_, value) in &cell.axes { td.setting { (plain(value)) } }
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

/// The header of a table. The first `texts` columns hold text.
fn head(texts: usize, columns: &[&str]) -> Markup {
    html! {
        thead {
            tr {
                @for (i, column) in columns.iter().enumerate() {
                    th.setting[i < texts] scope="col" { (column) }
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

/// Whether each cell is the best of its block, or not significantly worse by Welch's t-test. None is if
/// the best has a single run.
fn not_worse_than_best(analysis: &Analysis) -> Vec<bool> {
    let sign = if analysis.metric.higher_is_better() {
        1.0
    } else {
        -1.0
    };
    let mean = |cell: &CellResult| cell.summary.map(|summary| sign * summary.mean);
    let mut bold = vec![false; analysis.cells.len()];
    for block in blocks(analysis) {
        let finished = block.cells.iter().filter(|cell| cell.cell.n > 0);
        let best = finished.max_by(|a, b| mean(a.cell).partial_cmp(&mean(b.cell)).unwrap_or(Equal));
        // A single run is not enough to call it the best.
        let Some(best) = best.filter(|best| best.cell.n > 1) else {
            continue;
        };
        for cell in &block.cells {
            let test = welch_t_test(&cell.cell.values, &best.cell.values);
            let is_best = mean(cell.cell) == mean(best.cell);
            bold[cell.position] = is_best || test.is_some_and(|test| test.p >= 0.05);
        }
    }
    bold
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
        table.dense {
            caption { "Differences from the baseline. Superiority: the probability that a run has a higher value than one of the baseline." }
            (head(names.len(), &columns))
            tbody {
                @for row in &analysis.comparisons {
                    tr {
                        @for (_, value) in &row.axes { td.setting { (plain(value)) } }
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
            (head(2, &["run", "state", "epochs"]))
            tbody {
                @for run in runs {
                    tr {
                        td { @if run.records.is_empty() { (run.name) } @else { a href=(run.link) { (run.name) } } }
                        td.setting { (run.state) }
                        td { (run.records.len()) }
                    }
                }
            }
        }
    }
}
