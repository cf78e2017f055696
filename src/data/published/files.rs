//! Files of the data sets' own formats.

use std::path::{Path, PathBuf};

use super::limits::LARGEST;
use super::rows::Rows;
use super::spec::{Format, Spec};
use super::{binary, idx, python};
use crate::data::error::DataError;

/// Reads one split from the content of its files.
pub(super) fn read_files(
    format: Format,
    files: impl Iterator<Item = Result<(PathBuf, Vec<u8>), DataError>>,
    spec: &Spec,
) -> Result<Rows, DataError> {
    let read = match format {
        Format::Binary => binary::read,
        Format::Python => python::read,
        Format::Idx => idx::read,
    };
    let mut rows = Rows::default();
    for file in files {
        let (path, bytes) = file?;
        read(&path, &bytes, spec, &mut rows)?;
    }
    Ok(rows)
}

/// The content of a file.
pub(super) fn read_file(path: &Path, spec: &Spec) -> Result<Vec<u8>, DataError> {
    let io = |error| DataError::io(path, error);
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > LARGEST {
        return Err(DataError::invalid(
            path,
            format!("{length} bytes"),
            format!("a file of {}", spec.title),
        ));
    }
    std::fs::read(path).map_err(io)
}
