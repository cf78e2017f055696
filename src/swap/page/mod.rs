//! The report as a web page in a single file.

mod charts;
mod tables;

use maud::{Markup, html};

use super::report::{Row, SwapReport};
use crate::page::{definitions, document, wide};
use crate::swap::words::points;

impl SwapReport {
    /// A web page with tables and plots, in a single file without external resources.
    pub fn page(&self) -> String {
        render(self)
    }
}

fn render(report: &SwapReport) -> String {
    let title = format!("{}: {} swapped", report.model, report.from);
    let body = html! {
        p { (summary(report)) }
        @if report.interrupted {
            p { strong { "The study was stopped early." } }
        }
        @for failure in &report.failures {
            p { strong { (failure.activation) " was not completed: " } (failure.error) }
        }
        (definitions(report.setting.iter().map(|(name, value)| (name, value))))
        h2 { "Findings" }
        ul { @for finding in report.findings() { li { (finding) } } }
        h2 { "Limits" }
        ul { @for limit in report.limits() { li { (limit) } } }
        h2 { "Before and after" }
        (wide("Top-1 as a plot", &charts::accuracy(&report.rows)))
        (wide("Comparison", &tables::comparison(&report.rows, &report.from)))
        (explanation(&report.from))
        @if !report.recovery.is_empty() {
            h2 { "Recovery while training" }
            (wide("Recovery as a plot", &charts::recovery(&report.recovery)))
            (wide("Recovery", &tables::recovery(&report.recovery)))
        }
        @for search in &report.budgets {
            h2 { "Layers within a budget: " (search.activation) }
            p.note {
                "Each row adds the layer whose swap changes the outputs least. Top-1 is measured on "
                (search.curve.first().map_or(0, |step| step.comparison.images))
                " random test images, with recalibrated batch norms."
            }
            (wide("Accuracy by layers", &charts::budget(search)))
            (wide("Layers", &tables::budget(search)))
        }
        @if !report.approximations.is_empty() {
            h2 { "Approximations of " (report.from) }
            p.note {
                "Errors on the inputs of the activation layers of the original network. Straight "
                "lines are continuous, and their knots and slopes are fitted to these inputs."
            }
            (wide("Approximations", &tables::approximations(&report.approximations)))
        }
        @if !report.layers.is_empty() {
            h2 { "One part at a time" }
            p.note {
                "Change of top-1 when only these layers have the new activation, zero-shot, "
                "on " (report.layers[0].comparison.images)
                " random images, with the interval of the paired difference."
            }
            (wide("Parts as a plot", &charts::layers(&report.layers)))
            (wide("Parts of the network", &tables::layers(&report.layers)))
        }
        @if !report.robustness.is_empty() {
            h2 { "Perturbed images" }
            p.note {
                "Top-1 on " (report.robustness[0].images) " random images after the last stage "
                "of each activation. Strengths are fractions of the pixel range. FGSM uses "
                "the gradient of the measured network."
            }
            (wide("Perturbed images", &tables::robustness(&report.robustness)))
        }
    };
    document(&title, "", &body)
}

fn explanation(from: &str) -> Markup {
    html! {
        p.note {
            "Intervals cover 95 % over the images: Wilson's for proportions, Newcombe's for changes of "
            "top-1, bootstrap for the others. Changes are paired over the same images: from the original network, from the "
            "control, which is " (from) " after the same recalibration and training, and from the "
            "same activation with recalibrated batch norms. ECE is the "
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
        "Trained with {}: top-1 {:.2} %. At the last stage, the best new activation is {} ({}): top-1 \
         {:.2} %, {} points compared with {} at the same stage, {verdict}.",
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
