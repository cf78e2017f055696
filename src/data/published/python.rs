//! CIFAR's Python version: pickles of a dictionary with the pixels and labels.

use std::path::Path;

use super::rows::Rows;
use super::spec::Spec;
use crate::data::error::DataError;

/// Appends the images of a file to `rows`.
pub(super) fn read(
    path: &Path,
    _bytes: &[u8],
    spec: &Spec,
    _rows: &mut Rows,
) -> Result<(), DataError> {
    Err(DataError::invalid(path, "a pickle", spec.title))
}
