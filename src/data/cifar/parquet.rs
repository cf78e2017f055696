//! The layout on the Hub: parquet files with a PNG image and its labels in each row.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use image::ImageDecoder;
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use rayon::prelude::*;

use super::spec::{PIXELS, SIZE, Spec, check_label};
use crate::data::error::DataError;
use crate::data::images::ImageSet;

/// The column of the image, under the names used on the Hub.
const IMAGE_COLUMNS: [&str; 2] = ["img.bytes", "image.bytes"];
const COARSE_COLUMN: &str = "coarse_label";
/// Rows per read, whatever number a file claims.
const BLOCK: usize = 4096;

/// The decoded rows of one row group.
struct Group {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    coarse: Vec<u32>,
}

/// The indices of the columns.
struct Columns {
    image: usize,
    label: usize,
    coarse: Option<usize>,
}

/// Reads a split from its files, with row groups and images in parallel.
pub(super) fn read(files: &[PathBuf], spec: &Spec) -> Result<ImageSet, DataError> {
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    let mut coarse = Vec::new();
    for path in files {
        for group in read_file(path, spec)? {
            pixels.extend_from_slice(&group.pixels);
            labels.extend(group.labels);
            coarse.extend(group.coarse);
        }
    }
    let coarse = (!coarse.is_empty()).then_some(coarse);
    ImageSet::new(pixels, SIZE, SIZE, labels, coarse)
}

fn read_file(path: &Path, spec: &Spec) -> Result<Vec<Group>, DataError> {
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
    first_rows
        .into_par_iter()
        .enumerate()
        .map(|(index, first_row)| {
            let group = reader.get_row_group(index).map_err(unreadable)?;
            columns.read(path, group.as_ref(), first_row, spec)
        })
        .collect()
}

fn expected(spec: &Spec) -> String {
    format!(
        "the columns img and {2} of {0}/{1}",
        spec.repo.0, spec.repo.1, spec.label_column
    )
}

impl Columns {
    fn find(
        path: &Path,
        reader: &SerializedFileReader<Bytes>,
        spec: &Spec,
    ) -> Result<Self, DataError> {
        let schema = reader.metadata().file_metadata().schema_descr();
        let leaves: Vec<(String, PhysicalType)> = schema
            .columns()
            .iter()
            .map(|column| (column.path().string(), column.physical_type()))
            .collect();
        let find = |name: &str| leaves.iter().position(|(leaf, _)| leaf == name);
        let absent = |column: &str| {
            let names: Vec<&str> = leaves.iter().map(|(name, _)| name.as_str()).collect();
            DataError::invalid(
                path,
                format!("it has no column {column}, only {}", names.join(", ")),
                expected(spec),
            )
        };
        let columns = Self {
            image: IMAGE_COLUMNS
                .iter()
                .find_map(|name| find(name))
                .ok_or_else(|| absent("img (bytes, path)"))?,
            label: find(spec.label_column).ok_or_else(|| absent(spec.label_column))?,
            coarse: spec.has_coarse().then(|| find(COARSE_COLUMN)).flatten(),
        };
        let integers = [PhysicalType::INT32, PhysicalType::INT64];
        let labels = std::iter::once(columns.label).chain(columns.coarse);
        for (index, types) in labels
            .map(|index| (index, &integers[..]))
            .chain([(columns.image, &[PhysicalType::BYTE_ARRAY][..])])
        {
            let (name, physical) = &leaves[index];
            if !types.contains(physical) {
                return Err(DataError::invalid(
                    path,
                    format!("the column {name} is of type {physical}"),
                    format!("{}", types[types.len() - 1]),
                ));
            }
        }
        Ok(columns)
    }

    fn read(
        &self,
        path: &Path,
        group: &dyn RowGroupReader,
        first_row: usize,
        spec: &Spec,
    ) -> Result<Group, DataError> {
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let damaged = |error: String| {
            DataError::invalid(
                path,
                format!("the rows from {first_row} on cannot be read ({error})"),
                expected(spec),
            )
        };
        let column = |index: usize| {
            // The reader panics on these values instead of returning an error.
            let chunk = group.metadata().column(index);
            let first = chunk
                .dictionary_page_offset()
                .unwrap_or(chunk.data_page_offset());
            if first < 0 || chunk.compressed_size() < 0 {
                return Err(damaged("a column is outside the file".to_owned()));
            }
            group
                .get_column_reader(index)
                .map_err(|error| damaged(error.to_string()))
        };
        let labels = |index: usize, what: &str, classes: usize| {
            let values = integers(column(index)?, rows).map_err(damaged)?;
            values
                .into_iter()
                .enumerate()
                .map(|(row, label)| check_label(path, what, first_row + row, label, classes))
                .collect::<Result<Vec<u32>, DataError>>()
        };
        let images = match column(self.image)? {
            ColumnReader::ByteArrayColumnReader(reader) => {
                values::<ByteArrayType>(reader, rows).map_err(damaged)?
            }
            _ => return Err(damaged("images are not bytes".to_owned())),
        };
        let mut pixels = vec![0; images.len() * PIXELS];
        pixels
            .par_chunks_mut(PIXELS)
            .zip(&images)
            .enumerate()
            .try_for_each(|(row, (out, encoded))| {
                decode(encoded, out).map_err(|problem| {
                    DataError::invalid(
                        path,
                        format!("image {}: {problem}", first_row + row),
                        format!("a PNG of {SIZE} x {SIZE} pixels"),
                    )
                })
            })?;
        Ok(Group {
            pixels,
            labels: labels(self.label, "label", spec.classes.len())?,
            coarse: match self.coarse {
                Some(index) => labels(index, "coarse label", spec.coarse_classes.len())?,
                None => Vec::new(),
            },
        })
    }
}

fn integers(column: ColumnReader, rows: usize) -> Result<Vec<i64>, String> {
    match column {
        ColumnReader::Int64ColumnReader(reader) => {
            values::<parquet::data_type::Int64Type>(reader, rows)
        }
        ColumnReader::Int32ColumnReader(reader) => {
            let values = values::<parquet::data_type::Int32Type>(reader, rows)?;
            Ok(values.into_iter().map(i64::from).collect())
        }
        _ => Err("labels are not integers".to_owned()),
    }
}

/// All values of a column without nulls.
fn values<T: DataType>(mut reader: ColumnReaderImpl<T>, rows: usize) -> Result<Vec<T::T>, String> {
    let mut values = Vec::new();
    let mut levels = Vec::new();
    let mut read = 0;
    while read < rows {
        levels.clear();
        let block = BLOCK.min(rows - read);
        let (records, _, _) = reader
            .read_records(block, Some(&mut levels), None, &mut values)
            .map_err(|error| error.to_string())?;
        if records == 0 {
            break;
        }
        read += records;
    }
    if values.len() != rows {
        return Err(format!("{} values for {rows} rows", values.len()));
    }
    Ok(values)
}

/// Decodes an image to planar RGB: `out` is `[3, SIZE, SIZE]`, top row first.
fn decode(encoded: &ByteArray, out: &mut [u8]) -> Result<(), String> {
    let reader = image::ImageReader::new(Cursor::new(encoded.data()))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if (width as usize, height as usize) != (SIZE, SIZE) {
        return Err(format!("its size is {width} x {height}"));
    }
    let image = image::DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    let (red, rest) = out.split_at_mut(SIZE * SIZE);
    let (green, blue) = rest.split_at_mut(SIZE * SIZE);
    for (i, pixel) in image.into_rgb8().pixels().enumerate() {
        red[i] = pixel.0[0];
        green[i] = pixel.0[1];
        blue[i] = pixel.0[2];
    }
    Ok(())
}
