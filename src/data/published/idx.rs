//! MNIST's IDX files: a header with the sizes in big-endian order, then unsigned bytes.
//!
//! candle-datasets has a reader too. It reads no gzipped files, allocates what the header claims
//! before it looks at the file's length, ignores bytes after the data, checks neither labels nor
//! that there is one per image, and keeps the images as floats. A test compares the two on intact
//! files.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use super::limits::LARGEST;
use super::rows::Rows;
use super::spec::{Spec, check_label};
use crate::data::error::DataError;

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The type code of unsigned bytes.
const UNSIGNED_BYTE: u8 = 8;

/// Reads the file of images into empty `rows`, then the file of labels. Either may be gzipped.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    spec: &Spec,
    rows: &mut Rows,
) -> Result<(), DataError> {
    if rows.pixels.is_empty() {
        read_images(path, bytes, spec, rows)
    } else {
        read_labels(path, bytes, spec, rows)
    }
}

fn read_images(path: &Path, bytes: &[u8], spec: &Spec, rows: &mut Rows) -> Result<(), DataError> {
    let size = spec.size;
    let expected = format!("N x {size} x {size} unsigned bytes in IDX format");
    let bytes = unpack(path, bytes, &expected)?;
    let ([images, height, width], pixels) = split(path, &bytes, &expected)?;
    let invalid = |problem: String| Err(DataError::invalid(path, problem, &*expected));
    if images == 0 {
        return invalid("the file has no images".to_owned());
    }
    if [height, width] != [size, size] {
        return invalid(format!("its images are {height} x {width}"));
    }
    rows.pixels = pixels.to_vec();
    Ok(())
}

fn read_labels(path: &Path, bytes: &[u8], spec: &Spec, rows: &mut Rows) -> Result<(), DataError> {
    let images = rows.pixels.len() / spec.bytes();
    let expected = format!("{images} labels as unsigned bytes in IDX format");
    let bytes = unpack(path, bytes, &expected)?;
    let ([count], labels) = split(path, &bytes, &expected)?;
    if count != images {
        let problem = format!("{count} labels for {images} images");
        return Err(DataError::invalid(path, problem, expected));
    }
    let classes = spec.classes.len();
    let checked = labels
        .iter()
        .enumerate()
        .map(|(row, &label)| check_label(path, "label", row, i64::from(label), classes));
    rows.labels = checked.collect::<Result<_, _>>()?;
    Ok(())
}

/// The content of a file, unpacked if it is gzipped. The content decides, not the name: some
/// browsers unpack files and keep their names.
fn unpack<'a>(path: &Path, bytes: &'a [u8], expected: &str) -> Result<Cow<'a, [u8]>, DataError> {
    if !bytes.starts_with(&GZIP) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(LARGEST);
    match reader.read_to_end(&mut unpacked) {
        Ok(_) => Ok(Cow::Owned(unpacked)),
        Err(error) => Err(DataError::invalid(
            path,
            format!("the gzip file is truncated or damaged ({error})"),
            expected,
        )),
    }
}

/// The sizes in the header of an IDX file with `D` dimensions, and its data.
fn split<'a, const D: usize>(
    path: &Path,
    bytes: &'a [u8],
    expected: &str,
) -> Result<([usize; D], &'a [u8]), DataError> {
    let invalid = |problem: String| Err(DataError::invalid(path, problem, expected));
    if bytes.is_empty() {
        return invalid("the file is empty".to_owned());
    }
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return invalid(format!("{} bytes, too few for a header", bytes.len()));
    };
    if *magic != [0, 0, UNSIGNED_BYTE, D as u8] {
        let (found, right) = (u32::from_be_bytes(*magic), u32::from(UNSIGNED_BYTE) << 8);
        return invalid(format!(
            "the magic number is {found:#010x}, not {:#010x}",
            right + D as u32
        ));
    }
    if rest.len() < 4 * D {
        return invalid(format!("{} bytes, too few for a header", bytes.len()));
    }
    let (header, data) = rest.split_at(4 * D);
    let mut sizes = [0; D];
    for (size, bytes) in sizes.iter_mut().zip(header.as_chunks::<4>().0) {
        *size = u32::from_be_bytes(*bytes) as usize;
    }
    let count = sizes
        .iter()
        .try_fold(1usize, |count, size| count.checked_mul(*size));
    if count != Some(data.len()) {
        let sizes = sizes.map(|size| size.to_string()).join(" x ");
        return invalid(format!(
            "{} bytes of data where the header announces {sizes}: truncated or damaged",
            data.len()
        ));
    }
    Ok((sizes, data))
}
