//! The report as text.

use candle_mish::eval::{Change, Estimate};
use candle_mish::swap::{
    Approximation, BudgetSearch, LayerRow, Recovery, Robustness, Row, SwapReport,
};

use crate::table::{align_right, table};

/// The report as tables.
pub fn text(report: &SwapReport) -> String {
    let mut sections = vec![heading(report), comparisons(&report.rows)];
    let files = report.rows.iter().filter_map(|row| row.file.as_ref());
    let files = files.chain(
        report
            .budgets
            .iter()
            .filter_map(|search| search.file.as_ref()),
    );
    let files: Vec<&str> = files.map(String::as_str).collect();
    if !files.is_empty() {
        sections.push(format!("Saved:\n{}", files.join("\n")));
    }
    if !report.recovery.is_empty() {
        sections.push(recoveries(&report.recovery));
    }
    sections.extend(report.budgets.iter().map(budget));
    if !report.approximations.is_empty() {
        sections.push(approximations(&report.from, &report.approximations));
    }
    if !report.layers.is_empty() {
        sections.push(layers(&report.layers));
    }
    if !report.robustness.is_empty() {
        sections.push(robustness(&report.robustness));
    }
    sections.push(list("Findings:", &report.findings()));
    sections.push(list("Limits:", &report.limits()));
    for failure in &report.failures {
        sections.push(format!(
            "{} is not complete: {}",
            failure.activation, failure.error
        ));
    }
    if report.interrupted {
        sections.push("The study was stopped early.".to_string());
    }
    sections.join("\n\n")
}

fn heading(report: &SwapReport) -> String {
    let mut lines = vec![format!("{}, trained with {}", report.model, report.from)];
    let line = |(name, value): &(String, String)| format!("{name}: {value}");
    lines.extend(report.setting.iter().map(line));
    lines.join("\n")
}

fn comparisons(rows: &[Row]) -> String {
    let mut table = table(&[
        "activation",
        "stage",
        "top-1, %",
        "change to the original",
        "to the control",
        "to recalibrated",
        "top-5, %",
        "loss",
        "ECE, %",
        "agreement, %",
        "KL",
        "logit error",
    ]);
    for row in rows {
        let c = &row.comparison;
        table.add_row([
            row.activation.clone(),
            row.stage.to_string(),
            with_interval(&c.top1, 100.0, 2),
            change(Some(&c.change)),
            change(row.from_control.as_ref()),
            change(row.from_recalibrated.as_ref()),
            share(c.top5.value),
            format!("{:.4}", c.loss.value),
            share(c.calibration_error.value),
            share(c.agreement.value),
            format!("{:.4}", c.divergence.value),
            format!("{:.3}", c.logit_error.value),
        ]);
    }
    align_right(&mut table, 2..12);
    // Without later stages the column is empty.
    if rows.iter().all(|row| row.from_recalibrated.is_none())
        && let Some(column) = table.column_mut(5)
    {
        column.set_constraint(comfy_table::ColumnConstraint::Hidden);
    }
    let note = "Intervals: 95 %, over the images. Changes: points of top-1, paired. The control is \
                the network's own activation at the same stage. --json and --html include all \
                intervals.";
    format!("{}\n{note}", table.trim_fmt())
}

fn recoveries(recoveries: &[Recovery]) -> String {
    let mut table = table(&["activation", "stage", "top-1 in % after steps of training"]);
    for recovery in recoveries {
        let points = recovery.curve.iter();
        let points = points.map(|p| format!("{}: {}", p.step, share(p.evaluation.top1)));
        let points = points.collect::<Vec<_>>().join("   ");
        table.add_row([
            recovery.activation.clone(),
            recovery.stage.to_string(),
            points,
        ]);
    }
    table.trim_fmt()
}

fn budget(search: &BudgetSearch) -> String {
    let mut table = table(&[
        "layers",
        "added",
        "change of top-1",
        "smoothed",
        "agreement, %",
        "KL",
    ]);
    for (index, step) in search.curve.iter().enumerate() {
        let c = &step.comparison;
        table.add_row([
            (index + 1).to_string(),
            step.layer.clone(),
            change(Some(&c.change)),
            format!("{:+.2}", 100.0 * step.smoothed),
            share(c.agreement.value),
            format!("{:.4}", c.divergence.value),
        ]);
    }
    align_right(&mut table, 2..6);
    let images = search
        .curve
        .first()
        .map_or(0, |step| step.comparison.images);
    let chosen = match search.chosen.as_slice() {
        [] => "no layer is within the budget".to_string(),
        chosen => format!("--layers {}", chosen.join(",")),
    };
    format!(
        "{} in as many layers as a loss of {} points allows, searched on {images} random test \
         images:\n{}\n{chosen}",
        search.activation,
        search.points,
        table.trim_fmt()
    )
}

fn approximations(from: &str, rows: &[Approximation]) -> String {
    let mut table = table(&[
        "function",
        "relative error, %",
        "RMS error",
        "largest error",
        "worst layer",
        "its error, %",
    ]);
    for row in rows {
        table.add_row([
            row.name.clone(),
            share(row.relative_error),
            format!("{:.4}", row.rms_error),
            format!("{:.4}", row.largest_error),
            row.worst_layer.clone(),
            share(row.worst_relative_error),
        ]);
    }
    align_right(&mut table, 1..4);
    let note = "--json and --html include the knots and slopes of the lines.";
    format!(
        "In place of {from}, on the inputs of its layers in the original network:\n{}\n{note}",
        table.trim_fmt()
    )
}

/// A heading with sentences.
fn list(heading: &str, sentences: &[String]) -> String {
    let lines = sentences.iter().map(|sentence| format!("\n- {sentence}"));
    format!("{heading}{}", lines.collect::<String>())
}

fn layers(rows: &[LayerRow]) -> String {
    let mut table = table(&[
        "layers",
        "activation",
        "change of top-1",
        "agreement, %",
        "loss",
    ]);
    for row in rows {
        let c = &row.comparison;
        table.add_row([
            row.layers.clone(),
            row.activation.clone(),
            change(Some(&c.change)),
            share(c.agreement.value),
            format!("{:.3}", c.loss.value),
        ]);
    }
    align_right(&mut table, 2..5);
    let images = rows.first().map_or(0, |row| row.comparison.images);
    let title = format!("One stage or layer at a time, zero-shot, on {images} random images:");
    format!("{title}\n{}", table.trim_fmt())
}

fn robustness(rows: &[Robustness]) -> String {
    let mut table = table(&[
        "activation",
        "images",
        "strength",
        "top-1, %",
        "to the control",
        "loss",
    ]);
    for row in rows {
        table.add_row([
            row.activation.clone(),
            row.perturbation.to_string(),
            format!("{:.4}", row.strength),
            with_interval(&row.top1, 100.0, 2),
            change(row.from_control.as_ref()),
            format!("{:.3}", row.loss.value),
        ]);
    }
    align_right(&mut table, 2..6);
    let images = rows.first().map_or(0, |row| row.images);
    let title =
        format!("{images} random images, perturbed, after the last stage of each activation:");
    format!("{title}\n{}", table.trim_fmt())
}

/// 0.1234 as 12.34, in %.
fn share(value: f64) -> String {
    format!("{:.2}", 100.0 * value)
}

fn with_interval(e: &Estimate, scale: f64, digits: usize) -> String {
    let Estimate { value, low, high } = e;
    let (value, low, high) = (scale * value, scale * low, scale * high);
    format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]")
}

/// A change of top-1 in points, or an empty cell.
fn change(change: Option<&Change>) -> String {
    change.map_or_else(String::new, |change| {
        let Estimate { value, low, high } = change.top1;
        let (value, low, high) = (100.0 * value, 100.0 * low, 100.0 * high);
        format!("{value:+.2} [{low:+.2}, {high:+.2}]")
    })
}
