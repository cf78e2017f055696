//! The weights inside of the program as a table.

use candle_mish_models::{self as models, Embedded};
use serde::Serialize;

use crate::table::{align_right, table, thousands};

/// Weights for `--pretrained embedded`.
#[derive(Serialize)]
pub(super) struct Row {
    model: &'static str,
    activation: String,
    dataset: &'static str,
    num_classes: usize,
    top1: f64,
    bytes: usize,
    sha256: &'static str,
}

impl From<&Embedded> for Row {
    fn from(weights: &Embedded) -> Self {
        Self {
            model: weights.model,
            activation: weights.activation.to_string(),
            dataset: weights.dataset,
            num_classes: weights.num_classes,
            top1: weights.top1,
            bytes: weights.bytes.len(),
            sha256: weights.sha256,
        }
    }
}

/// All weights, or the weights of one network.
pub(super) fn rows(model: Option<&str>) -> Vec<Row> {
    let own = |row: &&Embedded| model.is_none_or(|model| row.model == model);
    models::embedded().filter(own).map(Row::from).collect()
}

/// The rows as a table.
pub(super) fn list(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "This build has no embedded weights.".to_string();
    }
    let mut table = table(&[
        "model",
        "activation",
        "data set",
        "classes",
        "top-1, %",
        "bytes",
        "SHA-256",
    ]);
    for row in rows {
        table.add_row([
            row.model.to_string(),
            row.activation.clone(),
            row.dataset.to_string(),
            row.num_classes.to_string(),
            format!("{:.2}", 100.0 * row.top1),
            thousands(row.bytes as u64),
            row.sha256.to_string(),
        ]);
    }
    align_right(&mut table, [3, 4, 5]);
    table.trim_fmt()
}
