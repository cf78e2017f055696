//! The report as a web page in a single file.

mod charts;
mod tables;
mod text;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::report::{Row, SwapReport};
use text::points;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.note, caption { opacity: .75; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } tbody th { font-weight: normal; }
th:first-child, td:first-child { text-align: left; }
td small { opacity: .7; }
tr.first th, tr.first td { border-top: 2px solid var(--line); }
svg { width: 100%; min-width: 44rem; height: auto; } svg text { fill: currentColor; font-size: 12px; }
svg .grid { stroke: var(--line); } svg .zero, svg .whisker { stroke: currentColor; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; }
dt { opacity: .75; } dd { margin: 0; overflow-wrap: anywhere; }
";

impl SwapReport {
    /// A web page with tables and plots, in a single file without external resources.
    pub fn page(&self) -> String {
        render(self)
    }
}

fn render(report: &SwapReport) -> String {
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
                @if report.interrupted {
                    p { strong { "The study was stopped early." } }
                }
                @for failure in &report.failures {
                    p { strong { (failure.activation) " was not completed: " } (failure.error) }
                }
                dl {
                    @for (name, value) in &report.setting {
                        dt { (name) } dd { (value) }
                    }
                }
                h2 { "Before and after" }
                (figure(charts::accuracy(&report.rows)))
                (figure(tables::comparison(&report.rows, &report.from)))
                (definitions(&report.from))
                @if !report.recovery.is_empty() {
                    h2 { "Recovery while fine-tuning" }
                    (figure(charts::recovery(&report.recovery)))
                    (figure(tables::recovery(&report.recovery)))
                }
                @if !report.layers.is_empty() {
                    h2 { "One part at a time" }
                    p.note {
                        "Change of top-1 when only these layers have the new activation, zero-shot, "
                        "on " (report.layers[0].comparison.images)
                        " random images, with the interval of the paired difference."
                    }
                    (figure(charts::layers(&report.layers)))
                    (figure(tables::layers(&report.layers)))
                }
                @if !report.robustness.is_empty() {
                    h2 { "Perturbed images" }
                    p.note {
                        "Top-1 on " (report.robustness[0].images) " random images after the last stage "
                        "of each activation. Strengths are fractions of the pixel range. FGSM uses "
                        "the gradient of the measured network."
                    }
                    (figure(tables::robustness(&report.robustness)))
                }
            }
        }
    };
    page.into_string()
}

/// Wide content that scrolls separately on a narrow screen.
fn figure(content: Markup) -> Markup {
    html! { div.wide { (content) } }
}

fn definitions(from: &str) -> Markup {
    html! {
        p.note {
            "Intervals cover 95 % over the images: Wilson's for proportions, bootstrap for the "
            "others. Changes are paired over the same images: from the original network, and from "
            "the control, which is " (from) " after the same recalibration and training. ECE is the "
            "expected calibration error, agreement the fraction of images with the original's class, "
            "KL is Σ p (ln p − ln q) with the original's probabilities p and the new probabilities q, "
            "and logit error the norm of the difference of the logits relative to the original's."
        }
    }
}

/// A sentence about the best new activation at its last stage.
fn summary(report: &SwapReport) -> String {
    let best = last_stages(&report.rows)
        .into_iter()
        .filter(|row| row.from_control.is_some())
        .max_by(|a, b| {
            let (a, b) = (a.comparison.top1.value, b.comparison.top1.value);
            a.total_cmp(&b)
        });
    let Some((original, best)) = report.rows.first().zip(best) else {
        return format!("Trained with {}.", report.from);
    };
    let change = best.from_control.unwrap_or_default().top1;
    let verdict = match () {
        () if change.low > 0.0 => "better than the control",
        () if change.high < 0.0 => "worse than the control",
        () => "not significantly different from the control",
    };
    format!(
        "Trained with {}: top-1 {:.2} %. The best new activation is {} ({}): top-1 {:.2} %, {} \
         points compared with {} at the same stage, {verdict}.",
        report.from,
        100.0 * original.comparison.top1.value,
        best.activation,
        best.stage,
        100.0 * best.comparison.top1.value,
        points(&change),
        report.from,
    )
}

/// The last row of each activation.
fn last_stages(rows: &[Row]) -> Vec<&Row> {
    let is_last = |i: &usize| {
        let next = rows.get(i + 1);
        next.is_none_or(|next| next.activation != rows[*i].activation)
    };
    let indices = (0..rows.len()).filter(is_last);
    indices.map(|i| &rows[i]).collect()
}
