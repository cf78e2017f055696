//! The plots of the page, as SVG.

use maud::{Markup, html};

use super::reported_run::ReportedRun;
use crate::page::{Curve, LineChart, Scale, colour};
use crate::study::analysis::{Analysis, Ranking};
use crate::study::wording::describe;
use crate::train::EpochRecord;

/// Rules of style for the plots.
pub(super) const STYLE: &str =
    "svg .clique { stroke: currentColor; stroke-width: 4; stroke-linecap: round; }";

const LEFT: f64 = 220.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;

/// A row for each cell: a dot for each run, the mean and its interval.
pub(super) fn strips(analysis: &Analysis) -> Markup {
    let metric = analysis.metric;
    let cells: Vec<_> = analysis.cells.iter().filter(|cell| cell.n > 0).collect();
    // Intervals of two values can be wider than any plot.
    let values = cells
        .iter()
        .flat_map(|cell| &cell.values)
        .map(|value| metric.scaled(*value));
    let scale = Scale::covering(values, 8.0);
    let x = |value: f64| LEFT + WIDTH * scale.place(metric.scaled(value)).clamp(0.0, 1.0);
    let height = ROW * cells.len() as f64 + 46.0;
    html! {
        svg viewBox=(format!("0 0 {} {height}", LEFT + WIDTH + 40.0)) role="img"
            aria-label=(format!("{} of each run with means and 95 % intervals; the table has the values", metric.title())) {
            @for tick in scale.ticks() {
                @let at = LEFT + WIDTH * scale.place(tick);
                line.grid x1=(at) x2=(at) y1="0" y2=(height - 40.0) {}
                text x=(at) y=(height - 24.0) text-anchor="middle" { (tick) }
            }
            text x=(LEFT + WIDTH) y=(height - 6.0) text-anchor="end" { (metric.title()) }
            @for (i, cell) in cells.iter().enumerate() {
                @let y = ROW * (i as f64 + 0.5);
                text x=(LEFT - 10.0) y=(y + 4.0) text-anchor="end" { (describe(&cell.axes)) }
                g class=(colour(i)) {
                    @for value in &cell.values {
                        circle.dot cx=(x(*value)) cy=(y) r="3" opacity="0.5" {}
                    }
                }
                @if let Some(summary) = &cell.summary {
                    @if let Some(ci95) = summary.ci95 {
                        line.whisker x1=(x(ci95.low)) x2=(x(ci95.high)) y1=(y) y2=(y) {}
                    }
                    line.whisker x1=(x(summary.mean)) x2=(x(summary.mean)) y1=(y - 7.0) y2=(y + 7.0) stroke-width="2" {}
                }
            }
        }
    }
}

/// The critical-difference diagram of Demšar (2006): settings at their mean ranks; a bar joins those
/// that are not distinguished.
pub(super) fn ranks(ranking: &Ranking) -> Markup {
    let count = ranking.settings.len();
    let mut order: Vec<_> = ranking.settings.iter().collect();
    order.sort_by(|a, b| a.mean_rank.total_cmp(&b.mean_rank));
    let x = |rank: f64| LEFT + WIDTH * (rank - 1.0) / (count as f64 - 1.0);
    let cliques = cliques(
        &order.iter().map(|s| s.mean_rank).collect::<Vec<_>>(),
        ranking.critical_difference,
    );
    let top = 40.0;
    let first_label = top + 16.0 + 10.0 * cliques.len() as f64;
    let height = first_label + ROW * count.div_ceil(2) as f64 + 10.0;
    html! {
        svg viewBox=(format!("0 0 {} {height}", 2.0 * LEFT + WIDTH)) role="img"
            aria-label=(format!("Mean ranks with a critical difference of {:.2}", ranking.critical_difference)) {
            line.whisker x1=(x(1.0)) x2=(x(count as f64)) y1=(top) y2=(top) {}
            @for rank in 1..=count {
                line.whisker x1=(x(rank as f64)) x2=(x(rank as f64)) y1=(top - 6.0) y2=(top) {}
                text x=(x(rank as f64)) y=(top - 10.0) text-anchor="middle" { (rank) }
            }
            @for (i, setting) in order.iter().enumerate() {
                @let best_half = i < count.div_ceil(2);
                @let row = if best_half { i } else { count - 1 - i };
                @let y = first_label + ROW * row as f64;
                @let end = if best_half { LEFT - 10.0 } else { LEFT + WIDTH + 10.0 };
                polyline.line style="stroke-width:1" points=(format!("{0:.1},{top} {0:.1},{y:.1} {end:.1},{y:.1}", x(setting.mean_rank))) {}
                text x=(if best_half { end - 4.0 } else { end + 4.0 }) y=(y + 4.0)
                    text-anchor=(if best_half { "end" } else { "start" }) {
                    (describe(&setting.axes)) " (" (format!("{:.2}", setting.mean_rank)) ")"
                }
            }
            @for (i, (low, high)) in cliques.iter().enumerate() {
                @let y = top + 10.0 + 10.0 * i as f64;
                line.clique x1=(x(*low) - 4.0) x2=(x(*high) + 4.0) y1=(y) y2=(y) {}
            }
        }
    }
}

/// The widest groups of ascending ranks that are closer than `difference`.
fn cliques(ranks: &[f64], difference: f64) -> Vec<(f64, f64)> {
    let mut groups: Vec<(f64, f64)> = Vec::new();
    for (i, &low) in ranks.iter().enumerate() {
        let high = ranks[i..]
            .iter()
            .copied()
            .filter(|rank| rank - low < difference);
        let high = high.fold(low, f64::max);
        if high > low && groups.last().is_none_or(|group| group.1 < high) {
            groups.push((low, high));
        }
    }
    groups
}

/// Mean training curves of each cell; `None` before the first epoch.
pub(super) fn curves(analysis: &Analysis, runs: &[ReportedRun]) -> Option<Vec<Markup>> {
    let chart = |title: &str, value: fn(&EpochRecord) -> f64| {
        let curves = analysis.cells.iter().enumerate().filter_map(|(i, cell)| {
            let of_cell: Vec<_> = runs.iter().filter(|run| run.cell == i).collect();
            let epochs = of_cell.iter().map(|run| run.records.len()).max()?;
            let points = (0..epochs).map(|epoch| {
                let values: Vec<f64> = of_cell
                    .iter()
                    .filter_map(|run| run.records.get(epoch))
                    .map(value)
                    .collect();
                (
                    epoch as f64 + 1.0,
                    values.iter().sum::<f64>() / values.len() as f64,
                )
            });
            let points: Vec<(f64, f64)> = points.collect();
            (!points.is_empty()).then(|| Curve {
                name: describe(&cell.axes),
                style: i,
                points,
            })
        });
        let chart = LineChart {
            title: title.to_owned(),
            x: "epoch",
            curves: curves.collect(),
        };
        (!chart.curves.is_empty()).then(|| chart.svg())
    };
    let top1 = chart("top-1 of the evaluation, %, mean over runs", |record| {
        100.0 * record.top1
    })?;
    let loss = chart("training loss, mean over runs", |record| record.train_loss)?;
    Some(vec![top1, loss])
}

#[cfg(test)]
mod tests {
    use super::cliques;

    #[test]
    fn bars_join_the_widest_groups_only() {
        let groups = cliques(&[1.0, 1.5, 2.2, 3.5], 1.0);
        assert_eq!(groups, [(1.0, 1.5), (1.5, 2.2)]);
        assert_eq!(cliques(&[1.0, 1.5, 1.9, 3.5], 1.0), [(1.0, 1.9)]);
        assert_eq!(cliques(&[1.0, 3.0], 1.0), []);
    }
}
