//! The report as a web page in one file.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::report::{Disturbance, Recovery, Robustness, Row, Stage, SwapReport};
use crate::eval::{Comparison, Estimate};

/// Colours that stay apart for most eyes (Okabe and Ito, "Color Universal Design", 2008).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f",
];

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --faint: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.note { opacity: .75; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
td small { opacity: .7; }
tr.first td { border-top: 2px solid var(--line); }
svg { width: 100%; height: auto; } svg text { fill: currentColor; font-size: 12px; }
svg .grid { stroke: var(--line); } svg .whisker { stroke: currentColor; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; }
dt { opacity: .75; } dd { margin: 0; overflow-wrap: anywhere; }
";

/// The page.
pub(super) fn render(report: &SwapReport) -> String {
    let title = format!("{}: {} swapped", report.model, report.from);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p { (summary(report)) }
                dl {
                    @for (name, value) in &report.setting {
                        dt { (name) } dd { (value) }
                    }
                }
                h2 { "Before and after" }
                (accuracy_chart(&report.rows))
                (comparison_table(&report.rows))
                p.note {
                    "Intervals are of 95 % over the images: Wilson's for shares, bootstrapped for "
                    "the others. Change is the paired difference of top-1 to the original. ECE is "
                    "the expected calibration error, agreement the share of images with the "
                    "original's class, divergence the Kullback-Leibler divergence of the "
                    "probabilities from the original's, logit error the relative difference of "
                    "the logits. The rows of " (report.from) " are the control: what "
                    "recalibration and fine-tuning do without a swap."
                }
                @if !report.recovery.is_empty() {
                    h2 { "Recovery while fine-tuning" }
                    (recovery_chart(&report.recovery))
                }
                @if !report.layers.is_empty() {
                    h2 { "One part at a time" }
                    p.note {
                        "Top-1 lost when only these layers take the new activation, zero-shot, on "
                        (report.layers[0].comparison.images) " images."
                    }
                    (layer_table(report))
                }
                @if !report.robustness.is_empty() {
                    h2 { "Disturbed images" }
                    p.note {
                        "Top-1 on the first " (report.robustness[0].evaluation.images)
                        " images after the last stage of each activation. Strengths are parts of "
                        "a pixel's range; FGSM attacks the network that it is measured on."
                    }
                    (robustness_table(&report.robustness))
                }
            }
        }
    };
    page.into_string()
}

/// The best new activation in a sentence.
fn summary(report: &SwapReport) -> String {
    let new = report
        .rows
        .iter()
        .filter(|row| row.activation != report.from);
    let best = new.max_by(|a, b| {
        let (a, b) = (a.comparison.top1.value, b.comparison.top1.value);
        a.total_cmp(&b)
    });
    let original = report.rows.first();
    match (original, best) {
        (Some(original), Some(best)) => format!(
            "Trained with {}: top-1 {}. The best swap is {} ({}): top-1 {}, {} points.",
            report.from,
            percent(&original.comparison.top1),
            best.activation,
            best.stage,
            percent(&best.comparison.top1),
            points(&best.comparison.top1_change),
        ),
        _ => format!("Trained with {}.", report.from),
    }
}

fn percent(share: &Estimate) -> String {
    format!("{:.2} %", 100.0 * share.value)
}

fn points(change: &Estimate) -> String {
    format!("{:+.2}", 100.0 * change.value)
}

fn comparison_table(rows: &[Row]) -> Markup {
    let share = |e: &Estimate| {
        html! {
            td {
                (format!("{:.2} ", 100.0 * e.value))
                small { (format!("[{:.2}, {:.2}]", 100.0 * e.low, 100.0 * e.high)) }
            }
        }
    };
    let number = |e: &Estimate| {
        html! {
            td {
                (format!("{:.3} ", e.value))
                small { (format!("[{:.3}, {:.3}]", e.low, e.high)) }
            }
        }
    };
    let first = |i: usize| i == 0 || rows[i - 1].activation != rows[i].activation;
    html! {
        div.wide {
            table {
                tr {
                    th { "activation" } th { "stage" } th { "top-1, %" } th { "change, points" }
                    th { "top-5, %" } th { "loss" } th { "ECE, %" } th { "agreement, %" }
                    th { "divergence" } th { "logit error" }
                }
                @for (i, row) in rows.iter().enumerate() {
                    @let c = &row.comparison;
                    tr.first[first(i)] {
                        td { @if first(i) { (row.activation) } }
                        td { (row.stage) }
                        (share(&c.top1)) (share(&c.top1_change)) (share(&c.top5)) (number(&c.loss))
                        (share(&c.calibration_error)) (share(&c.agreement)) (number(&c.divergence))
                        td { (format!("{:.3}", c.logit_error)) }
                    }
                }
            }
        }
    }
}

/// The activations in the order of the rows.
fn activations<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// A bar with its interval for each activation and stage.
fn accuracy_chart(rows: &[Row]) -> Markup {
    const LEFT: f64 = 170.0;
    const WIDTH: f64 = 640.0;
    const ROW: f64 = 22.0;
    let x = |share: f64| LEFT + WIDTH * share;
    let height = ROW * rows.len() as f64 + 30.0;
    let names = activations(rows.iter().map(|row| row.activation.as_str()));
    let opacity = |stage: Stage| match stage {
        Stage::Original | Stage::FineTuned => "1",
        Stage::Recalibrated => "0.65",
        Stage::ZeroShot => "0.35",
    };
    html! {
        svg viewBox=(format!("0 0 {} {height}", LEFT + WIDTH + 70.0)) role="img"
            aria-label="Top-1 of every activation and stage" {
            @for tick in 0..=5 {
                @let share = f64::from(tick) / 5.0;
                line.grid x1=(x(share)) x2=(x(share)) y1="0" y2=(height - 25.0) {}
                text x=(x(share)) y=(height - 8.0) text-anchor="middle" { (tick * 20) " %" }
            }
            @for (i, row) in rows.iter().enumerate() {
                @let y = ROW * i as f64;
                @let top1 = row.comparison.top1;
                @let index = names.iter().position(|name| *name == row.activation).unwrap_or(0);
                text x=(LEFT - 8.0) y=(y + 15.0) text-anchor="end" {
                    (row.activation) ", " (row.stage)
                }
                rect x=(LEFT) y=(y + 3.0) width=(WIDTH * top1.value) height=(ROW - 6.0)
                    fill=(colour(index)) opacity=(opacity(row.stage)) {}
                line.whisker x1=(x(top1.low)) x2=(x(top1.high)) y1=(y + ROW / 2.0)
                    y2=(y + ROW / 2.0) {}
                text x=(x(top1.high) + 6.0) y=(y + 15.0) {
                    (format!("{:.1}", 100.0 * top1.value))
                }
            }
        }
    }
}

/// Top-1 over the steps of fine-tuning.
fn recovery_chart(recoveries: &[Recovery]) -> Markup {
    const LEFT: f64 = 50.0;
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 300.0;
    let points = recoveries.iter().flat_map(|recovery| &recovery.curve);
    let steps = points.clone().map(|p| p.step).max().unwrap_or(0).max(1) as f64;
    let shares = points.map(|p| p.evaluation.top1);
    let lowest = shares.clone().fold(1.0, f64::min);
    let highest = shares.fold(0.0, f64::max);
    // The axis covers what the curves reach, with up to nine lines.
    let tick = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|tick| 100.0 * (highest - lowest) <= 8.0 * tick)
        .unwrap_or(20.0);
    let first = (100.0 * lowest / tick).floor() as u32;
    let last = ((100.0 * highest / tick).ceil() as u32).max(first + 1);
    let x = |step: usize| LEFT + WIDTH * step as f64 / steps;
    let y = |share: f64| {
        let height = (100.0 * share / tick - f64::from(first)) / f64::from(last - first);
        10.0 + HEIGHT * (1.0 - height)
    };
    html! {
        svg viewBox=(format!("0 0 {} {}", LEFT + WIDTH + 150.0, HEIGHT + 45.0)) role="img"
            aria-label="Top-1 over the steps of fine-tuning" {
            @for line in first..=last {
                @let percent = f64::from(line) * tick;
                @let height = y(percent / 100.0);
                line.grid x1=(LEFT) x2=(LEFT + WIDTH) y1=(height) y2=(height) {}
                text x=(LEFT - 8.0) y=(height + 4.0) text-anchor="end" { (percent) " %" }
            }
            text x=(LEFT) y=(HEIGHT + 30.0) { "step 0" }
            text x=(LEFT + WIDTH) y=(HEIGHT + 30.0) text-anchor="end" { (steps) }
            @for (i, recovery) in recoveries.iter().enumerate() {
                @let points = recovery.curve.iter().map(|p| {
                    format!("{:.1},{:.1}", x(p.step), y(p.evaluation.top1))
                }).collect::<Vec<_>>().join(" ");
                polyline points=(points) fill="none" stroke=(colour(i)) stroke-width="2" {}
                @let legend = 20.0 + 20.0 * i as f64;
                rect x=(LEFT + WIDTH + 15.0) y=(legend - 9.0) width="12" height="10"
                    fill=(colour(i)) {}
                text x=(LEFT + WIDTH + 33.0) y=(legend) { (recovery.activation) }
            }
        }
    }
}

/// A row for each part of the network, a column for each activation.
fn layer_table(report: &SwapReport) -> Markup {
    let names = activations(report.layers.iter().map(|row| row.activation.as_str()));
    let parts = activations(report.layers.iter().map(|row| row.layers.as_str()));
    let of = |part: &str, name: &str| -> Option<&Comparison> {
        let mut rows = report.layers.iter();
        let row = rows.find(|row| row.layers == part && row.activation == name);
        row.map(|row| &row.comparison)
    };
    let worst = report
        .layers
        .iter()
        .map(|row| -row.comparison.top1_change.value);
    let worst = worst.fold(0.01, f64::max);
    html! {
        div.wide {
            table {
                tr {
                    th { "layers" }
                    @for name in &names { th { (name) } }
                }
                @for part in &parts {
                    tr {
                        td { (part) }
                        @for name in &names {
                            @if let Some(c) = of(part, name) {
                                @let share = (-c.top1_change.value / worst).clamp(0.0, 1.0);
                                td style=(format!("background: rgba(213, 94, 0, {:.2})", 0.6 * share)) {
                                    (points(&c.top1_change)) " "
                                    small {
                                        (format!(
                                            "[{:+.2}, {:+.2}]",
                                            100.0 * c.top1_change.low,
                                            100.0 * c.top1_change.high
                                        ))
                                    }
                                }
                            } @else {
                                td {}
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A row for each disturbance, a column for each activation.
fn robustness_table(rows: &[Robustness]) -> Markup {
    let names = activations(rows.iter().map(|row| row.activation.as_str()));
    let mut cases: Vec<(Disturbance, f64)> = Vec::new();
    for row in rows {
        if !cases.contains(&(row.disturbance, row.strength)) {
            cases.push((row.disturbance, row.strength));
        }
    }
    let of = |case: &(Disturbance, f64), name: &str| {
        let mut rows = rows.iter();
        rows.find(|row| (row.disturbance, row.strength) == *case && row.activation == name)
    };
    html! {
        div.wide {
            table {
                tr {
                    th { "images" }
                    @for name in &names { th { (name) ", %" } }
                }
                @for case in &cases {
                    tr {
                        td {
                            (case.0)
                            @if case.0 != Disturbance::None { (format!(" {:.4}", case.1)) }
                        }
                        @for name in &names {
                            td {
                                @if let Some(row) = of(case, name) {
                                    (format!("{:.2}", 100.0 * row.evaluation.top1))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
