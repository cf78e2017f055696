//! CIFAR's Python version: pickles of a dictionary with an array of pixels and lists of labels. They
//! are read, never executed.
//!
//! The published files are from Python 2, whose keys and array contents are byte strings. Files that
//! Python 3 wrote again have text or bytes as keys.

use std::path::Path;

use super::rows::Rows;
use super::spec::{Spec, check_label};
use crate::data::error::DataError;
use crate::pickle::{self, Limits, PickleError, Value, numpy};

/// Appends the images of a file to `rows`.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    spec: &Spec,
    rows: &mut Rows,
) -> Result<(), DataError> {
    if bytes.is_empty() {
        return Err(DataError::invalid(
            path,
            "the file is empty",
            expected(spec),
        ));
    }
    let unreadable =
        |error: PickleError| DataError::invalid(path, error.to_string(), expected(spec));
    let pickle = pickle::read(bytes, &Limits::default()).map_err(unreadable)?;
    let batch = Batch {
        path,
        spec,
        dictionary: pickle.root(),
    };
    let images = batch.pixels(rows)?;
    batch.labels(
        labels_key(spec),
        spec.classes.len(),
        images,
        &mut rows.labels,
    )?;
    if spec.has_coarse() {
        let classes = spec.coarse_classes.len();
        batch.labels("coarse_labels", classes, images, &mut rows.coarse)?;
    }
    Ok(())
}

/// The key of the (fine) labels.
fn labels_key(spec: &Spec) -> &'static str {
    if spec.has_coarse() {
        "fine_labels"
    } else {
        "labels"
    }
}

/// The content that a file should have, for messages.
fn expected(spec: &Spec) -> String {
    let labels = labels_key(spec);
    format!("a pickle of {} with data and {labels}", spec.title)
}

/// The dictionary of a file.
struct Batch<'p> {
    path: &'p Path,
    spec: &'p Spec,
    dictionary: Value<'p>,
}

impl<'p> Batch<'p> {
    fn invalid(&self, problem: String) -> DataError {
        DataError::invalid(self.path, problem, expected(self.spec))
    }

    /// The value at a key.
    fn get(&self, key: &str) -> Result<Value<'p>, DataError> {
        let Some(entries) = self.dictionary.entries() else {
            let found = self.dictionary.describe();
            return Err(self.invalid(format!("the pickle is {found}, not a dictionary")));
        };
        let mut found = entries.iter().rev();
        let name = |name: &Value<'p>| match name.text() {
            Some(text) => Some(text.to_owned()),
            None => String::from_utf8(name.bytes()?.into_owned()).ok(),
        };
        match found.find(|(own, _)| name(own).as_deref() == Some(key)) {
            Some((_, value)) => Ok(*value),
            None => {
                let keys: Vec<String> = entries.iter().filter_map(|(own, _)| name(own)).collect();
                Err(self.invalid(format!("it has no {key}, only {}", keys.join(", "))))
            }
        }
    }

    fn array(&self, key: &str, value: Value<'p>) -> Result<Option<numpy::Array<'p>>, DataError> {
        numpy::array(value).map_err(|error| self.invalid(format!("{key}: {error}")))
    }

    /// Appends the pixels `[N, 3 x 32 x 32]` to `rows` and returns N.
    fn pixels(&self, rows: &mut Rows) -> Result<usize, DataError> {
        let value = self.get("data")?;
        let Some(array) = self.array("data", value)? else {
            let found = value.describe();
            return Err(self.invalid(format!("data is {found}, not an array of numbers")));
        };
        let (size, bytes) = (self.spec.size, self.spec.bytes());
        let flat = matches!(array.shape[..], [_, row] if row == bytes);
        let planes =
            matches!(array.shape[..], [_, 3, height, width] if [height, width] == [size; 2]);
        let numpy::ElementType { kind, size: width } = array.element;
        if (kind, width) != ('u', 1) || !(flat || planes) {
            return Err(self.invalid(format!(
                "data has the shape {:?} and elements of type {kind}{width}, not N x {bytes} unsigned \
                 bytes",
                array.shape
            )));
        }
        let images = array.shape[0];
        if images == 0 {
            return Err(self.invalid("data has no images".to_owned()));
        }
        rows.pixels.extend_from_slice(&array.data);
        Ok(images)
    }

    /// Appends one label for each of `images` to `labels`.
    fn labels(
        &self,
        key: &str,
        classes: usize,
        images: usize,
        labels: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        let value = self.get(key)?;
        let values = match self.array(key, value)? {
            Some(array) => integers(&array),
            None => value
                .items()
                .and_then(|items| items.map(|item| self.integer(item)).collect()),
        };
        let Some(values) = values else {
            return Err(self.invalid(format!("{key} has values that are not integers")));
        };
        if values.len() != images {
            let problem = format!("{} {key} for {images} images", values.len());
            return Err(self.invalid(problem));
        }
        labels.reserve(images);
        for (row, value) in values.into_iter().enumerate() {
            let what = key.trim_end_matches('s').replace('_', " ");
            labels.push(check_label(self.path, &what, row, value, classes)?);
        }
        Ok(())
    }

    /// An integer of Python or of NumPy.
    fn integer(&self, value: Value<'p>) -> Option<i64> {
        value.int().or_else(|| {
            let scalar = numpy::array(value).ok()??;
            match integers(&scalar)?[..] {
                [integer] => Some(integer),
                _ => None,
            }
        })
    }
}

/// The elements of an array of integers with at most one dimension.
fn integers(array: &numpy::Array) -> Option<Vec<i64>> {
    let numpy::ElementType { kind, size } = array.element;
    if array.shape.len() > 1 || !matches!(kind, 'i' | 'u') || !matches!(size, 1 | 2 | 4 | 8) {
        return None;
    }
    let element = |bytes: &[u8]| {
        let negative = kind == 'i' && bytes[size - 1] & 0x80 != 0;
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        extended[..size].copy_from_slice(bytes);
        i64::from_le_bytes(extended)
    };
    Some(array.data.chunks_exact(size).map(element).collect())
}
