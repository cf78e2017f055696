//! The tables of the page.

use maud::{Markup, html};

use crate::eval::{Change, Estimate};
use crate::page::head;
use crate::swap::report::{
    Approximation, BudgetSearch, LayerRow, Line, Perturbation, Recovery, Robustness, Row,
};
use crate::swap::words::{distinct, points, signed};

/// A row for each activation and stage.
pub(super) fn comparison(rows: &[Row], from: &str) -> Markup {
    let columns = [
        "activation",
        "stage",
        "top-1, %",
        "change to original, points",
        "change to control, points",
        "change to recalibrated, points",
        "top-5, %",
        "loss",
        "ECE, %",
        "agreement, %",
        "KL, nats",
        "logit error",
    ];
    let share = |e: &Estimate| with_interval(e, 100.0, 2);
    let number = |e: &Estimate| with_interval(e, 1.0, 3);
    let first = |i: usize| i == 0 || rows[i - 1].activation != rows[i].activation;
    html! {
        table {
            caption { "Each activation at each stage. The rows of " (from) " are the control." }
            (head(&columns))
            tbody {
                @for (i, row) in rows.iter().enumerate() {
                    @let c = &row.comparison;
                    tr class=[first(i).then_some("first")] {
                        th scope="row" { (row.activation) }
                        td { (row.stage) }
                        (share(&c.top1))
                        (change(Some(&c.change)))
                        (change(row.from_control.as_ref()))
                        (change(row.from_recalibrated.as_ref()))
                        (share(&c.top5)) (number(&c.loss)) (share(&c.calibration_error))
                        (share(&c.agreement)) (number(&c.divergence)) (number(&c.logit_error))
                    }
                }
            }
        }
    }
}

/// A row for each activation, a column for each evaluation.
pub(super) fn recovery(recoveries: &[Recovery]) -> Markup {
    let steps = recoveries.iter().flat_map(|r| &r.curve).map(|p| p.step);
    let mut steps: Vec<usize> = steps.collect();
    steps.sort_unstable();
    steps.dedup();
    let of = |recovery: &Recovery, step: usize| {
        let point = recovery.curve.iter().find(|point| point.step == step);
        point.map(|point| format!("{:.2}", 100.0 * point.evaluation.top1))
    };
    html! {
        table {
            caption { "Top-1 in % by step" }
            thead {
                tr {
                    th scope="col" { "activation" }
                    @for step in &steps { th scope="col" { (step) } }
                }
            }
            tbody {
                @for recovery in recoveries {
                    tr {
                        th scope="row" { (recovery.activation) ", " (recovery.stage) }
                        @for step in &steps { td { @if let Some(text) = of(recovery, *step) { (text) } } }
                    }
                }
            }
        }
    }
}

/// A row for each layer that a search swapped.
pub(super) fn budget(search: &BudgetSearch) -> Markup {
    let columns = [
        "layers",
        "added",
        "change of top-1, points",
        "smoothed",
        "agreement, %",
        "KL, nats",
    ];
    html! {
        table {
            caption {
                "Layers with " (search.activation) " in the order of the search. The first "
                (search.chosen.len()) " are within " (search.points) " points"
            }
            (head(&columns))
            tbody {
                @for (index, step) in search.curve.iter().enumerate() {
                    tr {
                        th scope="row" { (index + 1) }
                        td { (step.layer) }
                        (change(Some(&step.comparison.change)))
                        td { (format!("{:+.2}", 100.0 * step.smoothed)) }
                        (with_interval(&step.comparison.agreement, 100.0, 2))
                        (with_interval(&step.comparison.divergence, 1.0, 4))
                    }
                }
            }
        }
    }
}

/// A row for each function in place of the activation.
pub(super) fn approximations(rows: &[Approximation]) -> Markup {
    let columns = [
        "function",
        "relative error, %",
        "RMS error",
        "largest error",
        "worst layer",
        "its relative error, %",
        "lines",
    ];
    let percent = |share: f64| format!("{:.2}", 100.0 * share);
    html! {
        table {
            caption { "Functions in place of the activation, and their errors" }
            (head(&columns))
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (row.name) }
                        td { (percent(row.relative_error)) }
                        td { (format!("{:.4}", row.rms_error)) }
                        td { (format!("{:.4}", row.largest_error)) }
                        td { (row.worst_layer) }
                        td { (percent(row.worst_relative_error)) }
                        td { @for line in &row.lines { small { (formula(line)) } " " } }
                    }
                }
            }
        }
    }
}

/// A straight line with its start, such as `x ≥ 0.50: 1.0000 x - 0.0100;`.
fn formula(line: &Line) -> String {
    let Line {
        from,
        slope,
        intercept,
    } = line;
    let sign = if *intercept < 0.0 { '−' } else { '+' };
    let line = format!("{slope:.4} x {sign} {:.4};", intercept.abs());
    match from {
        Some(from) => format!("x ≥ {from:.3}: {line}"),
        None => line,
    }
}

/// A row for each part of the network, a column for each activation.
pub(super) fn layers(rows: &[LayerRow]) -> Markup {
    let names = distinct(rows.iter().map(|row| row.activation.as_str()));
    let parts = distinct(rows.iter().map(|row| row.layers.as_str()));
    let of = |part: &str, name: &str| {
        let row = rows
            .iter()
            .find(|row| row.layers == part && row.activation == name);
        row.map(|row| &row.comparison.change)
    };
    html! {
        table {
            caption { "Change of top-1 in points, one part at a time" }
            thead {
                tr {
                    th scope="col" { "layers" }
                    @for name in &names { th scope="col" { (name) } }
                }
            }
            tbody {
                @for part in &parts {
                    tr {
                        th scope="row" { (part) }
                        @for name in &names { (change(of(part, name))) }
                    }
                }
            }
        }
    }
}

/// A row for each perturbation, a column for each activation.
pub(super) fn robustness(rows: &[Robustness]) -> Markup {
    let names = distinct(rows.iter().map(|row| row.activation.as_str()));
    let mut cases: Vec<(Perturbation, f64)> = Vec::new();
    for row in rows {
        if !cases.contains(&(row.perturbation, row.strength)) {
            cases.push((row.perturbation, row.strength));
        }
    }
    let of = |case: &(Perturbation, f64), name: &str| {
        let mut rows = rows.iter();
        rows.find(|row| (row.perturbation, row.strength) == *case && row.activation == name)
    };
    html! {
        table {
            caption { "Top-1 in %, and the change from the control on the same images in points" }
            thead {
                tr {
                    th scope="col" { "images" }
                    @for name in &names { th scope="col" { (name) } }
                }
            }
            tbody {
                @for case in &cases {
                    tr {
                        th scope="row" { (perturbation(case.0, case.1)) }
                        @for name in &names {
                            td {
                                @if let Some(row) = of(case, name) {
                                    (format!("{:.2} ", 100.0 * row.top1.value))
                                    @match &row.from_control {
                                        Some(change) => small { (points(&change.top1)) },
                                        None => small { (interval(&row.top1, 100.0, 2)) },
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A perturbation with its strength, such as `FGSM 2/255`.
fn perturbation(kind: Perturbation, strength: f64) -> String {
    match kind {
        Perturbation::None => kind.to_string(),
        Perturbation::Noise => format!("{kind} {strength}"),
        Perturbation::Fgsm => {
            // In units of 1/255, or as a number if it is not a multiple of 0.01/255.
            let steps = strength * 255.0;
            let rounded = (steps * 100.0).round() / 100.0;
            if (steps - rounded).abs() < 1e-6 {
                format!("{kind} {rounded}/255")
            } else {
                format!("{kind} {strength}")
            }
        }
    }
}

/// A change of top-1, or an empty cell.
fn change(change: Option<&Change>) -> Markup {
    html! {
        td {
            @if let Some(Change { top1, .. }) = change {
                (signed(top1.value)) " "
                small { "[" (signed(top1.low)) ", " (signed(top1.high)) "]" }
            }
        }
    }
}

fn with_interval(e: &Estimate, scale: f64, digits: usize) -> Markup {
    html! {
        td {
            (format!("{:.digits$} ", scale * e.value))
            small { (interval(e, scale, digits)) }
        }
    }
}

fn interval(e: &Estimate, scale: f64, digits: usize) -> String {
    format!("[{:.digits$}, {:.digits$}]", scale * e.low, scale * e.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_shown_in_steps_of_a_byte() {
        assert_eq!(
            perturbation(Perturbation::Fgsm, 0.5 / 255.0),
            "FGSM 0.5/255"
        );
        assert_eq!(perturbation(Perturbation::Fgsm, 2.0 / 255.0), "FGSM 2/255");
        assert_eq!(perturbation(Perturbation::Fgsm, 0.0051), "FGSM 0.0051");
        assert_eq!(perturbation(Perturbation::Noise, 0.05), "noise 0.05");
        assert_eq!(perturbation(Perturbation::None, 0.0), "clean");
    }
}
