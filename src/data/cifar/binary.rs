//! The binary version: records of labels (coarse and fine for CIFAR-100, one for CIFAR-10) and a
//! planar image, without a header.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::spec::{PIXELS, SIZE, Spec, check_label};
use crate::data::error::DataError;
use crate::data::images::ImageSet;

/// A larger file is not a file of the binary version and is not read into memory.
const LARGEST: u64 = 1 << 30;

/// Reads one split from its files.
pub(super) fn read(files: &[PathBuf], spec: &Spec) -> Result<ImageSet, DataError> {
    let mut split = Split::default();
    for path in files {
        let length = std::fs::metadata(path)
            .map_err(|error| DataError::io(path, error))?
            .len();
        if length > LARGEST {
            return Err(DataError::invalid(
                path,
                format!("{length} bytes"),
                format!("a file of {}'s binary version", spec.title),
            ));
        }
        let bytes = std::fs::read(path).map_err(|error| DataError::io(path, error))?;
        split.add(path, &bytes, spec)?;
    }
    split.finish()
}

/// Reads both splits from the archive.
pub(super) fn read_archive(path: &Path, spec: &Spec) -> Result<(ImageSet, ImageSet), DataError> {
    let unreadable = |error: std::io::Error| {
        DataError::invalid(
            path,
            format!("the archive cannot be unpacked ({error})"),
            format!("a whole {}", spec.archive),
        )
    };
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let mut members: HashMap<String, Vec<u8>> = HashMap::new();
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = match entry.path() {
            Ok(name) => name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            Err(error) => return Err(unreadable(error)),
        };
        let wanted = spec
            .train_files
            .iter()
            .chain(spec.test_files)
            .any(|file| *file == name);
        if !wanted {
            continue;
        }
        let mut bytes = Vec::new();
        entry
            .by_ref()
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        members.insert(name, bytes);
    }
    let split = |files: &[&str]| {
        let mut split = Split::default();
        for name in files {
            let bytes = members.get(*name).ok_or_else(|| {
                DataError::invalid(path, format!("it has no {name}"), spec.archive)
            })?;
            split.add(&path.join(name), bytes, spec)?;
        }
        split.finish()
    };
    Ok((split(spec.train_files)?, split(spec.test_files)?))
}

/// A split under construction.
#[derive(Default)]
struct Split {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    coarse: Vec<u32>,
}

impl Split {
    fn add(&mut self, path: &Path, bytes: &[u8], spec: &Spec) -> Result<(), DataError> {
        let labels = 1 + usize::from(spec.has_coarse());
        let record = labels + PIXELS;
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
        self.pixels.reserve(bytes.len() / record * PIXELS);
        for (row, bytes) in bytes.chunks_exact(record).enumerate() {
            let (head, pixels) = bytes.split_at(labels);
            let label = |at: usize, what, classes| {
                check_label(path, what, row, i64::from(head[at]), classes)
            };
            if spec.has_coarse() {
                self.coarse
                    .push(label(0, "coarse label", spec.coarse_classes.len())?);
            }
            self.labels
                .push(label(labels - 1, "label", spec.classes.len())?);
            self.pixels.extend_from_slice(pixels);
        }
        Ok(())
    }

    fn finish(self) -> Result<ImageSet, DataError> {
        let coarse = (!self.coarse.is_empty()).then_some(self.coarse);
        ImageSet::new(self.pixels, SIZE, SIZE, self.labels, coarse)
    }
}
