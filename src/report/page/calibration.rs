//! The reliability diagram and the calibration error.

use maud::{Markup, html};

use super::values::{calibration_of, percent};
use crate::eval::{Bin, Calibration, Estimate};
use crate::page::{colour, head, wide};
use crate::report::run_report::RunReport;

const LEFT: f64 = 52.0;
const TOP: f64 = 26.0;
const WIDTH: f64 = 416.0;
const HEIGHT: f64 = 230.0;

/// The diagrams and their table.
pub(super) fn section(report: &RunReport<'_>) -> Markup {
    let calibration = calibration_of(report);
    let outcomes: Vec<(f64, bool)> = report
        .predictions
        .iter()
        .map(|p| (p.confidence, p.is_correct()))
        .collect();
    let error = Estimate::bootstrap(outcomes.len(), |sample| {
        Calibration::new(sample.iter().map(|i| outcomes[*i])).error()
    });
    let images = outcomes.len().max(1) as f64;
    let confidence = outcomes.iter().map(|outcome| outcome.0).sum::<f64>() / images;
    let accuracy = outcomes.iter().filter(|outcome| outcome.1).count() as f64 / images;
    html! {
        p {
            "The mean confidence is " (percent(confidence)) ", the accuracy " (percent(accuracy))
            ". The expected calibration error is " (percent(error.value)) " (95 % bootstrap interval "
            (percent(error.low)) " to " (percent(error.high)) "), the mean distance between "
            "confidence and accuracy over 15 bins of the confidence."
        }
        div.charts {
            figure { (reliability(&calibration)) }
            figure { (histogram(&calibration, images)) }
        }
        details {
            summary { "Figures of all bins" }
            (wide("Figures of all bins", &table(&calibration)))
        }
    }
}

/// The mean of a sum over the images of a bin.
fn mean(bin: &Bin, sum: f64) -> f64 {
    sum / bin.images.max(1) as f64
}

/// Accuracy over confidence, with the diagonal of a calibrated network.
fn reliability(calibration: &Calibration) -> Markup {
    let bars = calibration.bins.map(|bin| mean(&bin, bin.correct));
    let diagonal = html! {
        line.zero x1=(LEFT) y1=(TOP + HEIGHT) x2=(LEFT + WIDTH) y2=(TOP) stroke-dasharray="4 4" {}
        @for bin in calibration.bins.iter().filter(|bin| bin.images > 0) {
            circle.dot cx=(format!("{:.1}", LEFT + WIDTH * mean(bin, bin.confidence))) r="3"
                cy=(format!("{:.1}", TOP + HEIGHT * (1.0 - mean(bin, bin.correct)))) {}
        }
    };
    plot("accuracy over confidence, %", &bars, 2, &diagonal)
}

/// The share of the images in each bin.
fn histogram(calibration: &Calibration, images: f64) -> Markup {
    let bars = calibration.bins.map(|bin| bin.images as f64 / images);
    plot(
        "share of the images over confidence, %",
        &bars,
        0,
        &html! {},
    )
}

/// Bars over the bins of the confidence, both axes from 0 to 100 %.
fn plot(title: &str, bars: &[f64], style: usize, more: &Markup) -> Markup {
    let step = WIDTH / bars.len() as f64;
    html! {
        svg viewBox="0 0 480 290" role="img" aria-label=(format!("{title}; the table below has the values")) {
            text x="0" y="14" font-weight="600" { (title) }
            @for tick in 0..=5 {
                @let share = f64::from(tick) / 5.0;
                @let y = TOP + HEIGHT * (1.0 - share);
                line.grid x1=(LEFT) x2=(LEFT + WIDTH) y1=(y) y2=(y) {}
                text x=(LEFT - 7.0) y=(y + 4.0) text-anchor="end" { (20 * tick) }
                text x=(LEFT + WIDTH * share) y=(TOP + HEIGHT + 17.0) text-anchor="middle" { (20 * tick) }
            }
            text x=(LEFT + WIDTH) y=(TOP + HEIGHT + 33.0) text-anchor="end" { "confidence, %" }
            g class=(colour(style)) {
                @for (i, share) in bars.iter().enumerate() {
                    rect.bar x=(format!("{:.1}", LEFT + step * i as f64 + 1.0))
                        y=(format!("{:.1}", TOP + HEIGHT * (1.0 - share)))
                        width=(format!("{:.1}", step - 2.0)) height=(format!("{:.1}", HEIGHT * share))
                        opacity="0.6" {}
                }
            }
            (more)
        }
    }
}

fn table(calibration: &Calibration) -> Markup {
    let columns = [
        "confidence, %",
        "images",
        "mean confidence, %",
        "accuracy, %",
    ];
    let bins = calibration.bins.len() as f64;
    html! {
        table {
            (head(&columns))
            tbody {
                @for (i, bin) in calibration.bins.iter().enumerate() {
                    @let end = |i: usize| format!("{:.1}", 100.0 * i as f64 / bins);
                    tr {
                        th scope="row" { (end(i)) " to " (end(i + 1)) }
                        td { (bin.images) }
                        @if bin.images > 0 {
                            td { (format!("{:.1}", 100.0 * mean(bin, bin.confidence))) }
                            td { (format!("{:.1}", 100.0 * mean(bin, bin.correct))) }
                        } @else { td {} td {} }
                    }
                }
            }
        }
    }
}
