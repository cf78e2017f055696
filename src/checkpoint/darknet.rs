//! darknet's `.weights` files: numbers without names, in the order of the layers.
//!
//! A file has three i32, major, minor and revision, then the number of images that the training has
//! seen, a u64 from version 0.2 on and a u32 before, then f32 values to its end, all little-endian
//! (`src/parser.c` of <https://github.com/AlexeyAB/darknet>). The network's `.cfg` decides which
//! tensors these are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use candle_core::Tensor;

use super::CheckpointError;
use super::element::Element;

/// The bytes of a value.
const VALUE: usize = size_of::<f32>();
/// Major, minor and revision.
const VERSION: usize = 3 * size_of::<i32>();
/// The largest revision that darknet has written is 5.
const LAST_REVISION: i32 = 9;

/// The length of the header that starts with these bytes, or the version if it is unknown.
fn header(start: &[u8]) -> Result<usize, Option<[i32; 3]>> {
    let (numbers, _) = start.as_chunks::<4>();
    let [major, minor, revision, ..] = numbers else {
        return Err(None);
    };
    match [*major, *minor, *revision].map(i32::from_le_bytes) {
        [0, 1, 0..=LAST_REVISION] => Ok(VERSION + size_of::<u32>()),
        [0, 2, 0..=LAST_REVISION] => Ok(VERSION + size_of::<u64>()),
        version => Err(Some(version)),
    }
}

/// Whether a file of `length` bytes that starts with these bytes is a darknet file.
pub(super) fn is_header(start: &[u8], length: u64) -> bool {
    header(start).is_ok_and(|header| length > header as u64)
}

/// Whether the file at `path` is a darknet file, by its content. A file that cannot be read is none.
pub fn is_darknet(path: &Path) -> bool {
    let start = || {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut start = Vec::with_capacity(VERSION);
        file.take(VERSION as u64).read_to_end(&mut start).ok()?;
        Some((start, length))
    };
    start().is_some_and(|(start, length)| is_header(&start, length))
}

/// Reads a file onto the CPU as these tensors: their names and shapes, in the order of the file.
///
/// # Errors
/// If the file cannot be read, has an unknown version, or has more or fewer values than the tensors.
pub fn read(
    path: &Path,
    tensors: &[(String, Vec<usize>)],
) -> Result<HashMap<String, Tensor>, CheckpointError> {
    let io = CheckpointError::read(path);
    let damaged = |reason: String| CheckpointError::Darknet {
        path: path.to_path_buf(),
        reason,
    };
    let file = File::open(path).map_err(&io)?;
    let length = file.metadata().map_err(&io)?.len();
    let mut file = BufReader::new(file);
    let mut start = [0; VERSION];
    if length < VERSION as u64 {
        return Err(damaged(format!("it has {length} bytes")));
    }
    file.read_exact(&mut start).map_err(&io)?;
    let header = header(&start).map_err(|version| {
        damaged(match version {
            Some([major, minor, revision]) => {
                format!("its version is {major}.{minor}.{revision}, must be 0.1 or 0.2")
            }
            None => "it has no header".to_string(),
        })
    })?;
    // Before the tensors allocate memory.
    let wanted = tensors.iter().try_fold(0u64, |sum, (_, shape)| {
        let mut sizes = shape.iter().map(|size| *size as u64);
        let values = sizes.try_fold(1u64, |product, size| product.checked_mul(size))?;
        sum.checked_add(values)
    });
    let bytes = length.saturating_sub(header as u64);
    let found = bytes / VALUE as u64;
    if !bytes.is_multiple_of(VALUE as u64) || wanted != Some(found) {
        let wanted = wanted.map_or("more".to_string(), |wanted| wanted.to_string());
        return Err(damaged(format!(
            "it has {bytes} bytes of values, which are {found} numbers, and its .cfg needs \
             {wanted}: it is incomplete, or belongs to another network"
        )));
    }
    let mut seen = vec![0; header - VERSION];
    file.read_exact(&mut seen).map_err(&io)?;
    let mut read = HashMap::with_capacity(tensors.len());
    for (name, shape) in tensors {
        // At most the length of the file.
        let mut values = vec![0; shape.iter().product::<usize>() * VALUE];
        file.read_exact(&mut values).map_err(&io)?;
        let tensor = Element::F32.tensor(&values, shape).map_err(damaged)?;
        read.insert(name.clone(), tensor);
    }
    Ok(read)
}
