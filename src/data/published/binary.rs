//! CIFAR's binary version: records of labels (coarse and fine for CIFAR-100, one for CIFAR-10) and
//! a planar image, without a header.

use std::path::Path;

use super::rows::Rows;
use super::spec::{Spec, check_label};
use crate::data::error::DataError;

/// Appends the images of a file to `rows`.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    spec: &Spec,
    rows: &mut Rows,
) -> Result<(), DataError> {
    let labels = 1 + usize::from(spec.has_coarse());
    let record = labels + spec.bytes();
    let rest = bytes.len() % record;
    if bytes.is_empty() {
        return Err(DataError::invalid(
            path,
            "the file is empty",
            format!("records of {record} bytes"),
        ));
    }
    if rest != 0 {
        return Err(DataError::invalid(
            path,
            format!(
                "{} bytes, which is {} records and {rest} bytes more: truncated or another format",
                bytes.len(),
                bytes.len() / record
            ),
            format!("whole records of {record} bytes"),
        ));
    }
    rows.pixels
        .reserve(bytes.len() / record * (record - labels));
    for (row, bytes) in bytes.chunks_exact(record).enumerate() {
        let (head, pixels) = bytes.split_at(labels);
        let label =
            |at: usize, what, classes| check_label(path, what, row, i64::from(head[at]), classes);
        if spec.has_coarse() {
            rows.coarse
                .push(label(0, "coarse label", spec.coarse_classes.len())?);
        }
        rows.labels
            .push(label(labels - 1, "label", spec.classes.len())?);
        rows.pixels.extend_from_slice(pixels);
    }
    Ok(())
}
