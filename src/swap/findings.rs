//! The results of a study in words.

use super::report::{BudgetSearch, Row, Stage, SwapReport};
use super::words::{distinct, points, signed};
use crate::eval::Change;

/// A gap of top-1 that is too small to close, as a fraction: 0.1 points.
const SMALL: f64 = 0.001;

impl SwapReport {
    /// What the study found, in sentences.
    pub fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let names = distinct(self.rows.iter().map(|row| row.activation.as_str()));
        for name in names.into_iter().filter(|name| *name != self.from) {
            let rows: Vec<&Row> = self
                .rows
                .iter()
                .filter(|row| row.activation == name)
                .collect();
            found.extend(self.of_activation(name, &rows));
        }
        found.extend(self.budgets.iter().map(of_budget));
        found.extend(self.of_approximations());
        found
    }

    /// What the figures do not show, in sentences.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = vec![
            "The intervals cover the choice of the test images. They do not cover the seed of the \
             training: weights of another run may give other differences."
                .to_string(),
            "The best of several variants looks better here than it is.".to_string(),
            "Accuracy is measured on this data set. The study says nothing about other data, about \
             other tasks that use these weights, or about speed on a device."
                .to_string(),
        ];
        if !self.budgets.is_empty() {
            limits.push(
                "The search for layers is greedy: another set of layers of the same size may lose \
                 less."
                    .to_string(),
            );
        }
        limits
    }

    fn row(&self, name: &str, stage: Stage) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.activation == name && row.stage == stage)
    }

    fn of_activation(&self, name: &str, rows: &[&Row]) -> Vec<String> {
        let percent = |row: &Row| format!("{:.2} %", 100.0 * row.comparison.top1.value);
        let mut found = Vec::new();
        let original = self.row(&self.from, Stage::Original);
        let zero_shot = rows.iter().find(|row| row.stage == Stage::ZeroShot);
        if let (Some(original), Some(zero_shot)) = (original, zero_shot) {
            found.push(format!(
                "{name} in place of {}, zero-shot: top-1 {} instead of {}, {} points.",
                self.from,
                percent(zero_shot),
                percent(original),
                points(&zero_shot.comparison.change.top1)
            ));
        }
        let recalibrated = rows.iter().find(|row| row.stage == Stage::Recalibrated);
        let Some(recalibrated) = recalibrated else {
            let later = rows.iter().filter(|row| row.stage.follows_recalibration());
            found.extend(later.map(|row| self.without_recalibration(row)));
            return found;
        };
        let change = recalibrated.from_control.unwrap_or_default().top1;
        let gap = -change.value;
        if gap < SMALL {
            found.push(format!(
                "{name}, recalibrated: top-1 {}, {} points compared with {} after the same \
                 treatment. Recalibration alone leaves no gap to close.",
                percent(recalibrated),
                points(&change),
                self.from
            ));
        } else {
            found.push(format!(
                "{name}, recalibrated: top-1 {}. Recalibration leaves a gap of {:.2} points to {} \
                 after the same treatment, {} points.",
                percent(recalibrated),
                100.0 * gap,
                self.from,
                points(&change)
            ));
        }
        let gap = (gap >= SMALL).then_some(gap);
        found.extend(rows.iter().filter_map(|row| after(row, gap)));
        found
    }

    /// A stage of a network that was not recalibrated, compared with the control.
    fn without_recalibration(&self, row: &Row) -> String {
        let (change, control) = match row.from_control {
            Some(change) => (change, "after the same treatment"),
            None => (row.comparison.change, "in the original network"),
        };
        format!(
            "{}, {}: top-1 {:.2} %, {} points compared with {} {control}.",
            row.activation,
            row.stage,
            100.0 * row.comparison.top1.value,
            points(&change.top1),
            self.from
        )
    }

    fn of_approximations(&self) -> Option<String> {
        let mut lines = self
            .approximations
            .iter()
            .filter(|row| !row.lines.is_empty());
        let most = lines.clone().next_back()?;
        let fewest = lines.find(|row| row.relative_error < 0.01);
        Some(match fewest {
            Some(row) => format!(
                "{} approximate {} on its inputs in this network with an error of {:.2} % of its \
                 values (root mean square).",
                row.name,
                self.from,
                100.0 * row.relative_error
            ),
            None => format!(
                "{} approximate {} on its inputs in this network with an error of {:.2} % of its \
                 values (root mean square).",
                most.name,
                self.from,
                100.0 * most.relative_error
            ),
        })
    }
}

/// A stage compared with recalibration, and its part of the `gap`.
fn after(row: &Row, gap: Option<f64>) -> Option<String> {
    let Change { top1, .. } = row.from_recalibrated?;
    let closed = gap.filter(|_| top1.value > 0.0);
    let closed = closed.map(|gap| format!(", {:.0} % of the gap", 100.0 * top1.value / gap));
    let significant = match () {
        () if top1.low > 0.0 => "better than recalibration alone",
        () if top1.high < 0.0 => "worse than recalibration alone",
        () => "not significantly different from recalibration alone",
    };
    Some(format!(
        "{}, {}: top-1 {:.2} %, {} points compared with recalibration{}: {significant}.",
        row.activation,
        row.stage,
        100.0 * row.comparison.top1.value,
        points(&top1),
        closed.unwrap_or_default()
    ))
}

fn of_budget(search: &BudgetSearch) -> String {
    let swapped = search.chosen.len();
    let layers = if swapped == 1 { "layer" } else { "layers" };
    let held_out = match &search.held_out {
        Some(comparison) => format!(
            " On the {} test images that the search did not use, top-1 changes by {} points.",
            comparison.images,
            points(&comparison.change.top1)
        ),
        None => String::new(),
    };
    let last = search.curve.get(swapped.wrapping_sub(1));
    let on_search = last.map_or_else(String::new, |step| {
        format!(
            " ({} points on the images of the search, smoothed)",
            signed(step.smoothed)
        )
    });
    format!(
        "{} fits in {swapped} {layers} within a budget of {} points{on_search}, after {} \
         evaluations.{held_out}",
        search.activation, search.points, search.evaluations
    )
}
