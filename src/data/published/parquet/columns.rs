//! The columns of a parquet file that have the images and labels.

use std::path::Path;

use bytes::Bytes;
use parquet::basic::Type as PhysicalType;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use crate::data::error::DataError;
use crate::data::published::spec::Spec;

/// The column of the image, under the names used on the Hub: encoded bytes, or a group of them with
/// their path.
const IMAGE_COLUMNS: [&str; 4] = ["img", "image", "images", "image_bytes"];
const COARSE_COLUMNS: [&str; 2] = ["coarse_label", "coarse_labels"];

/// The indices of the columns.
#[derive(Debug)]
pub(super) struct Columns {
    pub image: usize,
    pub label: usize,
    /// The name of the column of labels.
    pub label_name: &'static str,
    pub coarse: Option<usize>,
}

impl Columns {
    /// Finds the columns by their names and checks their types.
    pub(super) fn find(
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
        let image = IMAGE_COLUMNS
            .iter()
            .find_map(|name| find(&format!("{name}.bytes")).or_else(|| find(name)));
        let label = spec
            .label_columns
            .iter()
            .find_map(|name| Some((*name, find(name)?)));
        let image = image.ok_or_else(|| absent("img (bytes, path)"))?;
        let (label_name, label) = label.ok_or_else(|| absent(spec.label_columns[0]))?;
        let columns = Self {
            image,
            label,
            label_name,
            coarse: COARSE_COLUMNS
                .iter()
                .find_map(|name| find(name))
                .filter(|_| spec.has_coarse()),
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

    /// Refuses a column of unspecific name that may have coarse labels, or the labels of a data set
    /// with fewer classes.
    pub(super) fn check_fine(
        &self,
        path: &Path,
        largest: Option<u32>,
        spec: &Spec,
    ) -> Result<(), DataError> {
        let coarse = spec.coarse_classes.len();
        let specific = self.label_name.starts_with("fine");
        match largest {
            Some(largest) if !specific && (largest as usize) < coarse => Err(DataError::invalid(
                path,
                format!(
                    "it has no column {}, and no label in its column {} is above {}",
                    spec.label_columns[0],
                    self.label_name,
                    coarse - 1
                ),
                expected(spec),
            )),
            _ => Ok(()),
        }
    }
}

/// The content that a file should have, for messages.
pub(super) fn expected(spec: &Spec) -> String {
    format!(
        "the columns img and {2} of {0}/{1}",
        spec.repo.0, spec.repo.1, spec.label_columns[0]
    )
}
