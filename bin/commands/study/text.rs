//! The report of a study as text.

use candle_mish::study::{Analysis, Study, describe, interval, p_value, plain};

use crate::table::{align_right, table};

/// Tables of the cells and comparisons, then the findings in words.
pub(super) fn report(study: &Study, analysis: &Analysis) -> String {
    let mut text = String::new();
    if !analysis.title.is_empty() {
        text += &format!("{}\n", analysis.title);
    }
    text += &format!(
        "{} of {} runs finished",
        analysis.finished, analysis.planned
    );
    if analysis.failed > 0 {
        text += &format!(", {} failed", analysis.failed);
    }
    text += &format!("\n\n{}\n", cells(study, analysis));
    for column in &analysis.published {
        text += &format!("{}\n", column.description());
    }
    if !analysis.comparisons.is_empty() {
        let baseline = describe(&study.baseline);
        text += &format!(
            "\nDifference from {baseline}\n{}\n",
            comparisons(study, analysis)
        );
    }
    let findings = analysis.findings();
    if !findings.is_empty() {
        text += "\n";
    }
    for finding in findings {
        text += &format!("- {finding}\n");
    }
    text
}

fn axes(study: &Study) -> Vec<&str> {
    study
        .compared_axes()
        .map(|axis| axis.name.as_str())
        .collect()
}

/// The headings of the published figures.
fn published(analysis: &Analysis) -> impl Iterator<Item = &str> {
    analysis.published.iter().map(|column| column.name.as_str())
}

fn cells(study: &Study, analysis: &Analysis) -> String {
    let metric = analysis.metric;
    let axes = axes(study);
    let mut header = axes.clone();
    header.extend(["n", metric.title(), "std", "95 % interval"]);
    header.extend(published(analysis));
    let failed = analysis.failed > 0;
    if failed {
        header.push("failed");
    }
    let mut table = table(&header);
    for cell in &analysis.cells {
        let mut row: Vec<String> = cell.axes.iter().map(|(_, value)| plain(value)).collect();
        let summary = cell.summary.as_ref();
        let none = || "-".to_owned();
        row.push(cell.n.to_string());
        row.push(summary.map_or_else(none, |s| metric.text(s.mean)));
        row.push(
            summary
                .and_then(|s| s.std)
                .map_or_else(none, |std| metric.text(std)),
        );
        row.push(
            summary
                .and_then(|s| s.ci95)
                .map_or_else(none, |ci| interval(metric, ci)),
        );
        for (column, figure) in analysis.published.iter().zip(&cell.published) {
            let text = figure.map(|figure| column.text(metric, &figure));
            row.push(text.unwrap_or_else(none));
        }
        if failed {
            row.push(cell.failures.len().to_string());
        }
        table.add_row(row);
    }
    align_right(&mut table, axes.len()..header.len());
    table.trim_fmt()
}

fn comparisons(study: &Study, analysis: &Analysis) -> String {
    let metric = analysis.metric;
    let axes = axes(study);
    let mut header = axes.clone();
    header.extend([
        "difference",
        "95 % interval",
        "p (Holm)",
        "p (paired)",
        "p (Welch)",
        "Cohen's d",
    ]);
    header.extend(published(analysis));
    let mut table = table(&header);
    let none = || "-".to_owned();
    for comparison in &analysis.comparisons {
        let mut row: Vec<String> = comparison
            .axes
            .iter()
            .map(|(_, value)| plain(value))
            .collect();
        row.push(metric.difference(comparison.difference));
        row.push(comparison.ci95.map_or_else(none, |ci| interval(metric, ci)));
        for p in [comparison.holm_p, comparison.paired_p, comparison.welch_p] {
            row.push(p.map_or_else(none, p_value));
        }
        row.push(comparison.cohens_d.map_or_else(none, |d| format!("{d:.2}")));
        for difference in &comparison.published {
            row.push(difference.map_or_else(none, |difference| metric.difference(difference)));
        }
        table.add_row(row);
    }
    align_right(&mut table, axes.len()..header.len());
    table.trim_fmt()
}
