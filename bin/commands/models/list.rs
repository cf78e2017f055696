//! The list of networks as a table.

use super::rows::{Row, short_tags, size_cells};
use crate::table::{align_right, table};

/// The rows as a table.
pub(super) fn list(rows: &[Row]) -> String {
    let mut table = table(&[
        "model",
        "family",
        "CIFAR-100: parameters",
        "multiply-adds",
        "ImageNet: parameters",
        "multiply-adds",
        "input",
        "weights",
        "paper",
    ]);
    for row in rows {
        let [params, multiply_adds, _] = size_cells(Some(&row.cifar));
        let [imagenet_params, imagenet_multiply_adds, input] = size_cells(row.imagenet.as_ref());
        table.add_row([
            row.name.to_string(),
            row.family.to_string(),
            params,
            multiply_adds,
            imagenet_params,
            imagenet_multiply_adds,
            input,
            short_tags(&row.pretrained),
            row.paper.to_string(),
        ]);
    }
    align_right(&mut table, [2, 3, 4, 5, 6]);
    table.trim_fmt()
}
