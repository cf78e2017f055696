//! Parquet: a row for each image and class.

use std::sync::Arc;

use anyhow::Context as _;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::destination::Destination;
use super::writer::Writer;
use crate::commands::predict::ranking::Prediction;

/// Image, rank from 1, index of the logit, name and probability.
const SCHEMA: &str = "message predictions {
    REQUIRED BINARY image (STRING);
    REQUIRED INT32 rank;
    REQUIRED INT32 label;
    REQUIRED BINARY class (STRING);
    REQUIRED FLOAT probability;
}";
/// Rows of a row group, which are held in memory.
const ROWS: usize = 1 << 16;

/// Writes row groups.
pub(super) struct Parquet {
    file: SerializedFileWriter<Destination>,
    rows: Rows,
}

/// The columns of a row group.
#[derive(Default)]
struct Rows {
    images: Vec<ByteArray>,
    ranks: Vec<i32>,
    labels: Vec<i32>,
    classes: Vec<ByteArray>,
    probabilities: Vec<f32>,
}

impl Parquet {
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn new(out: Destination) -> anyhow::Result<Self> {
        let schema = parse_message_type(SCHEMA)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self {
            file,
            rows: Rows::default(),
        })
    }

    fn write_group(&mut self) -> anyhow::Result<()> {
        let Rows {
            images,
            ranks,
            labels,
            classes,
            probabilities,
        } = std::mem::take(&mut self.rows);
        let mut group = self.file.next_row_group()?;
        // In the order of the schema.
        column::<ByteArrayType>(&mut group, &images)?;
        column::<Int32Type>(&mut group, &ranks)?;
        column::<Int32Type>(&mut group, &labels)?;
        column::<ByteArrayType>(&mut group, &classes)?;
        column::<FloatType>(&mut group, &probabilities)?;
        group.close()?;
        Ok(())
    }
}

/// Writes the next column of a row group.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<Destination>,
    values: &[T::T],
) -> anyhow::Result<()> {
    let mut column = group
        .next_column()?
        .context("the schema has more columns")?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()?;
    Ok(())
}

impl Writer for Parquet {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()> {
        let image = ByteArray::from(prediction.image);
        for (rank, class) in (1..).zip(&prediction.classes) {
            self.rows.images.push(image.clone());
            self.rows.ranks.push(rank);
            self.rows.labels.push(i32::try_from(class.label)?);
            self.rows.classes.push(ByteArray::from(&*class.name));
            self.rows.probabilities.push(class.probability);
        }
        if self.rows.ranks.len() >= ROWS {
            self.write_group()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if !self.rows.ranks.is_empty() {
            self.write_group()?;
        }
        self.file.into_inner()?.commit()
    }
}
