//! Parquet files, the format of the Hub: an encoded image and its labels in each row.

mod class_names;
mod columns;
mod values;

use std::fs::File;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use image::ImageReader;
use parquet::basic::Compression;
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use rayon::prelude::*;

use super::rows::Rows;
use super::spec::{Spec, check_label};
use crate::data::error::DataError;
use crate::data::image::Image;
use class_names::ClassNames;
use columns::{Columns, expected};
use values::{integers, values};

/// Reads a split from its files, with row groups and images in parallel.
pub(super) fn read(files: &[PathBuf], spec: &Spec) -> Result<Rows, DataError> {
    let mut rows = Rows::default();
    for path in files {
        for group in read_file(path, spec)? {
            rows.pixels.extend_from_slice(&group.pixels);
            rows.labels.extend(group.labels);
            rows.coarse.extend(group.coarse);
        }
    }
    Ok(rows)
}

/// What the class names in the first of `files` say that a reader of the results should know.
pub(super) fn class_note(files: &[PathBuf], spec: &Spec) -> Option<String> {
    let path = files.first()?;
    // Reads the end of the file only. Errors are reported when the rows are read.
    let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
    let names = spec
        .label_columns
        .iter()
        .find_map(|column| ClassNames::of(&reader, column, spec))?;
    names.note(path, spec)
}

/// Reads the row groups of a file.
///
/// The parquet crate panics on some damaged files, such as one with a value that ends within its
/// length. Here that is an error as any other. Nothing outlives the panic that could be half-read.
fn read_file(path: &Path, spec: &Spec) -> Result<Vec<Rows>, DataError> {
    let read = AssertUnwindSafe(|| row_groups(path, spec));
    catch_unwind(read).unwrap_or_else(|_| {
        Err(DataError::invalid(
            path,
            "the file is damaged",
            expected(spec),
        ))
    })
}

fn row_groups(path: &Path, spec: &Spec) -> Result<Vec<Rows>, DataError> {
    let bytes = std::fs::read(path).map_err(|error| DataError::io(path, error))?;
    if bytes.is_empty() {
        return Err(DataError::invalid(
            path,
            "the file is empty",
            expected(spec),
        ));
    }
    let unreadable = |error: ParquetError| {
        DataError::invalid(
            path,
            format!("truncated, or not a parquet file ({error})"),
            expected(spec),
        )
    };
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(unreadable)?;
    let columns = Columns::find(path, &reader, spec)?;
    if reader.metadata().file_metadata().num_rows() < 1 {
        return Err(DataError::invalid(
            path,
            "the file has no rows",
            expected(spec),
        ));
    }
    let first_rows: Vec<usize> = reader
        .metadata()
        .row_groups()
        .iter()
        .scan(0usize, |next, group| {
            let first = *next;
            *next = next.saturating_add(usize::try_from(group.num_rows()).unwrap_or(0));
            Some(first)
        })
        .collect();
    let mut groups: Vec<Rows> = first_rows
        .into_par_iter()
        .enumerate()
        .map(|(index, first_row)| {
            let group = reader.get_row_group(index).map_err(unreadable)?;
            Group {
                path,
                reader: group.as_ref(),
                first_row,
                spec,
            }
            .read(&columns)
        })
        .collect::<Result<_, _>>()?;
    let labels = groups.iter().flat_map(|group| &group.labels);
    columns.check_fine(path, labels.max().copied(), spec)?;
    if let Some(names) = ClassNames::of(&reader, columns.label_name, spec) {
        let labels = groups.iter_mut().flat_map(|group| &mut group.labels);
        names.relabel(labels);
    }
    Ok(groups)
}

/// A row group of a file.
struct Group<'a> {
    path: &'a Path,
    reader: &'a dyn RowGroupReader,
    first_row: usize,
    spec: &'a Spec,
}

impl Group<'_> {
    fn read(&self, columns: &Columns) -> Result<Rows, DataError> {
        let Self {
            path,
            first_row,
            spec,
            ..
        } = *self;
        let images = self.images(columns.image)?;
        let size = spec.bytes();
        let mut pixels = vec![0; images.len() * size];
        pixels
            .par_chunks_mut(size)
            .zip(&images)
            .enumerate()
            .try_for_each(|(row, (out, encoded))| {
                decode(path, encoded.data(), spec, out).map_err(|problem| {
                    DataError::invalid(
                        path,
                        format!("image {}: {problem}", first_row + row),
                        format!(
                            "an encoded image of {0} x {0} pixels, such as PNG",
                            spec.size
                        ),
                    )
                })
            })?;
        Ok(Rows {
            pixels,
            labels: self.labels(columns.label, "label", spec.classes.len())?,
            coarse: match columns.coarse {
                Some(index) => self.labels(index, "coarse label", spec.coarse_classes.len())?,
                None => Vec::new(),
            },
        })
    }

    fn rows(&self) -> usize {
        usize::try_from(self.reader.metadata().num_rows()).unwrap_or(0)
    }

    fn damaged(&self, error: impl std::fmt::Display) -> DataError {
        DataError::invalid(
            self.path,
            format!(
                "the rows from {} on cannot be read ({error})",
                self.first_row
            ),
            expected(self.spec),
        )
    }

    fn column(&self, index: usize) -> Result<ColumnReader, DataError> {
        let chunk = self.reader.metadata().column(index);
        if chunk.compression() == Compression::LZO {
            return Err(DataError::invalid(
                self.path,
                "the compression LZO is not supported",
                "Snappy, gzip, Brotli, LZ4, Zstandard or no compression",
            ));
        }
        // The reader panics on these values instead of returning an error.
        let first = chunk
            .dictionary_page_offset()
            .unwrap_or(chunk.data_page_offset());
        if first < 0 || chunk.compressed_size() < 0 {
            return Err(self.damaged("a column is outside the file"));
        }
        self.reader
            .get_column_reader(index)
            .map_err(|error| self.damaged(error))
    }

    fn images(&self, index: usize) -> Result<Vec<ByteArray>, DataError> {
        match self.column(index)? {
            ColumnReader::ByteArrayColumnReader(reader) => {
                values::<ByteArrayType>(reader, self.rows()).map_err(|error| self.damaged(error))
            }
            _ => Err(self.damaged("images are not bytes")),
        }
    }

    fn labels(&self, index: usize, what: &str, classes: usize) -> Result<Vec<u32>, DataError> {
        let values = integers(self.column(index)?, self.rows());
        let values = values.map_err(|error| self.damaged(error))?;
        let labels = values.into_iter().enumerate();
        labels
            .map(|(row, label)| check_label(self.path, what, self.first_row + row, label, classes))
            .collect()
    }
}

/// Decodes an image to planes: `out` is `[channels, size, size]`, top row first.
fn decode(path: &Path, encoded: &[u8], spec: &Spec, out: &mut [u8]) -> Result<(), String> {
    // The header first: a large image is not decoded.
    let reader = ImageReader::new(Cursor::new(encoded)).with_guessed_format();
    let size = reader.map_err(|error| error.to_string())?.into_dimensions();
    match size.map_err(|error| error.to_string())? {
        (width, height) if [width as usize, height as usize] == [spec.size; 2] => {}
        (width, height) => return Err(format!("its size is {width} x {height}")),
    }
    let image = Image::decode(path, encoded).map_err(|error| error.problem())?;
    let image = match spec.channels {
        1 => image.into_grey(),
        _ => image,
    };
    if image.pixels().len() != out.len() {
        return Err(format!(
            "its size is {} x {}",
            image.width(),
            image.height()
        ));
    }
    out.copy_from_slice(image.pixels());
    Ok(())
}
