//! The plots of the page, as SVG.

use maud::{Markup, html};

use crate::page::{Scale, colour, dash};
use crate::swap::report::{BudgetSearch, LayerRow, Recovery, Row, Stage};
use crate::swap::words::distinct;

/// A bar with its interval for each activation and stage.
pub(super) fn accuracy(rows: &[Row]) -> Markup {
    const LEFT: f64 = 170.0;
    const WIDTH: f64 = 640.0;
    const ROW: f64 = 22.0;
    let x = |share: f64| LEFT + WIDTH * share;
    let height = ROW * rows.len() as f64 + 30.0;
    let names = distinct(rows.iter().map(|row| row.activation.as_str()));
    let opacity = |stage: Stage| match stage {
        Stage::Original | Stage::FineTuned | Stage::Distilled => "1",
        Stage::Recalibrated => "0.5",
        Stage::LayerWise | Stage::BiasCorrected | Stage::ScaleShift | Stage::FittedConstants => {
            "0.75"
        }
        Stage::ZeroShot => "0.35",
    };
    html! {
        svg viewBox=(format!("0 0 {} {height}", LEFT + WIDTH + 70.0)) role="img"
            aria-label="Top-1 of every activation and stage; the table below has the values" {
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
                rect class=(format!("bar {}", colour(index))) x=(LEFT) y=(y + 3.0)
                    width=(WIDTH * top1.value) height=(ROW - 6.0) opacity=(opacity(row.stage)) {}
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
pub(super) fn recovery(recoveries: &[Recovery]) -> Markup {
    const LEFT: f64 = 50.0;
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 300.0;
    let points = recoveries.iter().flat_map(|recovery| &recovery.curve);
    let steps = points.clone().map(|p| p.step).max().unwrap_or(0).max(1) as f64;
    let scale = Scale::covering(points.map(|p| 100.0 * p.evaluation.top1), 8.0);
    let x = |step: usize| LEFT + WIDTH * step as f64 / steps;
    let y = |share: f64| 10.0 + HEIGHT * (1.0 - scale.place(100.0 * share));
    html! {
        svg viewBox=(format!("0 0 {} {}", LEFT + WIDTH + 210.0, HEIGHT + 45.0)) role="img"
            aria-label="Top-1 over the steps of training; the table below has the values" {
            @for percent in scale.ticks() {
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
                @let class = format!("line {}", colour(i));
                polyline class=(class) points=(points) stroke-dasharray=(dash(i)) {}
                @let legend = 20.0 + 20.0 * i as f64;
                line class=(class) x1=(LEFT + WIDTH + 12.0) x2=(LEFT + WIDTH + 42.0)
                    y1=(legend - 4.0) y2=(legend - 4.0) stroke-dasharray=(dash(i)) {}
                text x=(LEFT + WIDTH + 48.0) y=(legend) { (recovery.activation) ", " (recovery.stage) }
            }
        }
    }
}

/// The change of top-1 over the number of swapped layers, with its intervals and the budget.
pub(super) fn budget(search: &BudgetSearch) -> Markup {
    const LEFT: f64 = 50.0;
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 260.0;
    let changes = || search.curve.iter().map(|step| step.comparison.change.top1);
    let limits = [0.0, -search.points];
    let ends = changes()
        .flat_map(|c| [100.0 * c.low, 100.0 * c.high])
        .chain(limits);
    let scale = Scale::covering(ends, 8.0);
    let layers = search.curve.len().max(1) as f64;
    let x = |count: usize| LEFT + WIDTH * count as f64 / layers;
    let y = |points: f64| 10.0 + HEIGHT * (1.0 - scale.place(points));
    let line = changes().enumerate();
    let line = line.map(|(i, c)| format!(" {:.1},{:.1}", x(i + 1), y(100.0 * c.value)));
    let line = format!("{:.1},{:.1}", x(0), y(0.0)) + &line.collect::<String>();
    html! {
        svg viewBox=(format!("0 0 {} {}", LEFT + WIDTH + 70.0, HEIGHT + 45.0)) role="img"
            aria-label="Change of top-1 over the swapped layers; the table below has the values" {
            @for points in scale.ticks() {
                line.grid x1=(LEFT) x2=(LEFT + WIDTH) y1=(y(points)) y2=(y(points)) {}
                text x=(LEFT - 8.0) y=(y(points) + 4.0) text-anchor="end" { (points) }
            }
            line.zero x1=(LEFT) x2=(LEFT + WIDTH) y1=(y(-search.points)) y2=(y(-search.points)) {}
            text x=(LEFT + WIDTH + 6.0) y=(y(-search.points) + 4.0) { "budget" }
            text x=(LEFT) y=(HEIGHT + 30.0) { "0 layers" }
            text x=(LEFT + WIDTH) y=(HEIGHT + 30.0) text-anchor="end" { (layers) }
            polyline class=(format!("line {}", colour(0))) points=(line) {}
            @for (i, c) in changes().enumerate() {
                line.whisker x1=(x(i + 1)) x2=(x(i + 1)) y1=(y(100.0 * c.low))
                    y2=(y(100.0 * c.high)) {}
            }
        }
    }
}

/// A panel for each activation with a dot and its interval for each part of the network.
pub(super) fn layers(rows: &[LayerRow]) -> Markup {
    const LEFT: f64 = 170.0;
    const WIDTH: f64 = 560.0;
    const ROW: f64 = 16.0;
    let names = distinct(rows.iter().map(|row| row.activation.as_str()));
    html! {
        @for name in &names {
            @let of: Vec<&LayerRow> = rows.iter().filter(|row| row.activation == *name).collect();
            @let changes = of.iter().map(|row| row.comparison.change.top1);
            @let ends = changes.flat_map(|c| [100.0 * c.low, 100.0 * c.high]).chain([0.0]);
            @let scale = Scale::covering(ends, 8.0);
            @let x = |points: f64| LEFT + WIDTH * scale.place(points);
            @let height = ROW * of.len() as f64 + 50.0;
            svg viewBox=(format!("0 0 {} {height}", LEFT + WIDTH + 70.0)) role="img"
                aria-label=(format!("Change of top-1 with {name} in one part at a time")) {
                text x=(LEFT - 8.0) y="14" text-anchor="end" font-weight="600" { (name) }
                @for points in scale.ticks() {
                    @let class = if points == 0.0 { "zero" } else { "grid" };
                    line class=(class) x1=(x(points)) x2=(x(points)) y1="20" y2=(height - 25.0) {}
                    text x=(x(points)) y=(height - 8.0) text-anchor="middle" { (points) }
                }
                @for (j, row) in of.iter().enumerate() {
                    @let y = 20.0 + ROW * (j as f64 + 0.5);
                    @let change = row.comparison.change.top1;
                    text x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { (row.layers) }
                    line.whisker x1=(x(100.0 * change.low)) x2=(x(100.0 * change.high)) y1=(y)
                        y2=(y) {}
                    circle class=(format!("dot {}", colour(0))) cx=(x(100.0 * change.value))
                        cy=(y) r="4" {}
                }
            }
        }
    }
}
