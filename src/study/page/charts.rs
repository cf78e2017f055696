//! The plots of the page, as SVG.

use maud::{Markup, html};

use super::blocks::{Block, blocks};
use super::reported_run::ReportedRun;
use crate::page::{Band, Curve, LineChart, Scale, colour};
use crate::study::analysis::{Analysis, CellResult, RankedSetting, Ranking};
use crate::study::statistics::{mean, std_dev};
use crate::study::wording::describe;
use crate::train::EpochRecord;

/// Rules of style for the plots and tables.
pub(super) const STYLE: &str = "
svg .clique { stroke: currentColor; stroke-width: 4; stroke-linecap: round; }
th { white-space: normal; vertical-align: bottom; } th.setting, td.setting { text-align: left; }
div.wide > svg { margin-top: 1.5rem; }
table.dense { font-size: .87rem; } table.dense th, table.dense td { padding: .2rem .5rem; }
";

const WIDTH: f64 = 560.0;
const ROW: f64 = 24.0;
/// The width of a character of a label, at most, on average.
const CHARACTER: f64 = 6.7;

/// A row for each cell: a dot for each run, the mean and its interval. Blocks have a gap between them.
pub(super) fn strips(analysis: &Analysis) -> Markup {
    let metric = analysis.metric;
    let blocks = blocks(analysis);
    let mut rows = Vec::new();
    let mut y = 0.5 * ROW;
    for block in &blocks {
        let cells = block.cells.iter().filter(|cell| cell.cell.n > 0);
        let before = rows.len();
        for cell in cells {
            rows.push((y, cell.style, cell.cell));
            y += ROW;
        }
        y += if rows.len() > before { 0.5 * ROW } else { 0.0 };
    }
    let (low, high) = metric.range();
    let values = rows.iter().flat_map(|(_, _, cell)| shown(cell));
    let values = values.map(|value| value.clamp(low, high));
    let scale = Scale::covering(values.map(|value| metric.scaled(value)), 8.0);
    let left = label_width(rows.iter().map(|(_, _, cell)| describe(&cell.axes)));
    let x = |value: f64| left + WIDTH * scale.place(metric.scaled(value)).clamp(0.0, 1.0);
    let bottom = y - 0.5 * ROW;
    html! {
        svg viewBox=(format!("0 0 {} {}", left + WIDTH + 40.0, bottom + 46.0)) role="img"
            aria-label=(format!("{} of each run with means and 95 % intervals; the table has the values", metric.title())) {
            @for tick in scale.ticks() {
                @let at = left + WIDTH * scale.place(tick);
                line.grid x1=(at) x2=(at) y1="0" y2=(bottom) {}
                text x=(at) y=(bottom + 18.0) text-anchor="middle" { (scale.label(tick)) }
            }
            text x=(left + WIDTH) y=(bottom + 38.0) text-anchor="end" {
                (metric.title()) ": runs, mean and 95 % interval"
            }
            @for (y, style, cell) in &rows {
                text x=(left - 10.0) y=(y + 4.0) text-anchor="end" { (describe(&cell.axes)) }
                g class=(colour(*style)) {
                    @for value in &cell.values {
                        circle.dot cx=(x(*value)) cy=(y) r="3.5" opacity="0.6" {}
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

/// The values that the axis covers: all runs, and the interval of three and more. That of two can be wider
/// than any plot, and any interval of Student's t can leave the metric's range.
fn shown(cell: &CellResult) -> Vec<f64> {
    let mut values = cell.values.clone();
    let interval = cell.summary.as_ref().and_then(|summary| summary.ci95);
    if let Some(ci95) = interval.filter(|_| values.len() > 2) {
        values.extend([ci95.low, ci95.high]);
    }
    values
}

/// The room for the longest of some labels.
fn label_width(labels: impl Iterator<Item = String>) -> f64 {
    let longest = labels.map(|label| label.chars().count()).max().unwrap_or(0);
    20.0 + CHARACTER * longest as f64
}

/// The critical-difference diagram of Demšar (2006): settings at their mean ranks; a bar joins those
/// that are not distinguished.
pub(super) fn ranks(ranking: &Ranking) -> Markup {
    let count = ranking.settings.len();
    let mut order: Vec<_> = ranking.settings.iter().collect();
    order.sort_by(|a, b| a.mean_rank.total_cmp(&b.mean_rank));
    let label =
        |setting: &RankedSetting| format!("{} ({:.2})", describe(&setting.axes), setting.mean_rank);
    let left = 20.0 + label_width(order.iter().map(|setting| label(setting)));
    let x = |rank: f64| left + WIDTH * (rank - 1.0) / (count as f64 - 1.0);
    let right = 2.0 * left + WIDTH;
    // It may be longer than the axis.
    let difference_end = x(1.0 + ranking.critical_difference).min(right);
    let cliques = cliques(
        &order.iter().map(|s| s.mean_rank).collect::<Vec<_>>(),
        ranking.critical_difference,
    );
    let top = 72.0;
    let first_label = top + 16.0 + 10.0 * cliques.len() as f64;
    let height = first_label + ROW * count.div_ceil(2) as f64 + 10.0;
    html! {
        svg viewBox=(format!("0 0 {right} {height}")) role="img"
            aria-label=(format!("Mean ranks with a critical difference of {:.2}", ranking.critical_difference)) {
            text x=(x(1.0)) y="12" { (format!("critical difference {:.2}", ranking.critical_difference)) }
            line.clique x1=(x(1.0)) x2=(difference_end) y1="24" y2="24" {}
            line.whisker x1=(x(1.0)) x2=(x(count as f64)) y1=(top) y2=(top) {}
            @for rank in 1..=count {
                line.whisker x1=(x(rank as f64)) x2=(x(rank as f64)) y1=(top - 6.0) y2=(top) {}
                text x=(x(rank as f64)) y=(top - 10.0) text-anchor="middle" { (rank) }
            }
            @for (i, setting) in order.iter().enumerate() {
                @let best_half = i < count.div_ceil(2);
                @let row = if best_half { i } else { count - 1 - i };
                @let y = first_label + ROW * row as f64;
                @let end = if best_half { left - 10.0 } else { left + WIDTH + 10.0 };
                polyline.line style="stroke-width:1" points=(format!("{0:.1},{top} {0:.1},{y:.1} {end:.1},{y:.1}", x(setting.mean_rank))) {}
                text x=(if best_half { end - 4.0 } else { end + 4.0 }) y=(y + 4.0)
                    text-anchor=(if best_half { "end" } else { "start" }) {
                    (label(setting))
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

/// Training curves of each block: means over the runs of each cell, with bands of one standard
/// deviation. None before the first epoch.
pub(super) fn curves(analysis: &Analysis, runs: &[ReportedRun]) -> Vec<Markup> {
    let mut charts = Vec::new();
    for block in blocks(analysis) {
        charts.extend(curves_of(
            &block,
            runs,
            "top-1 of the evaluation, %",
            |record| 100.0 * record.top1,
        ));
        charts.extend(curves_of(&block, runs, "training loss", |record| {
            record.train_loss
        }));
    }
    charts
}

fn curves_of(
    block: &Block<'_>,
    runs: &[ReportedRun],
    quantity: &str,
    value: fn(&EpochRecord) -> f64,
) -> Option<Markup> {
    let (mut curves, mut bands) = (Vec::new(), Vec::new());
    for cell in &block.cells {
        let of_cell: Vec<_> = runs
            .iter()
            .filter(|run| run.cell == cell.position)
            .collect();
        // A mean over fewer runs would jump where a run ends.
        let lengths = of_cell.iter().map(|run| run.records.len());
        let epochs = lengths.filter(|epochs| *epochs > 0).min().unwrap_or(0);
        let (mut points, mut band) = (Vec::new(), Vec::new());
        for epoch in 0..epochs {
            let records = of_cell.iter().filter_map(|run| run.records.get(epoch));
            let values: Vec<f64> = records.map(value).collect();
            let (x, mean) = (epoch as f64 + 1.0, mean(&values));
            points.push((x, mean));
            band.extend(std_dev(&values).map(|std| (x, mean - std, mean + std)));
        }
        if points.is_empty() {
            continue;
        }
        curves.push(Curve {
            name: describe(&cell.setting),
            style: cell.style,
            points,
        });
        bands.push(Band {
            style: cell.style,
            points: band,
        });
    }
    let title = match block.axes.as_slice() {
        [] => quantity.to_owned(),
        axes => format!("{}: {quantity}", describe(axes)),
    };
    let chart = LineChart {
        title,
        x: "epoch",
        curves,
    };
    (!chart.curves.is_empty()).then(|| chart.svg_with(&bands))
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
