//! Checkpoints with a checksum, whose reader notices every damaged byte. Without one, a reader of
//! safetensors notices a damaged header only.
//!
//! The last tensor of the file, `checksum`, is the CRC-32 of all bytes before it. Other readers of
//! safetensors see one more tensor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use candle_core::Tensor;
use flate2::Crc;

use super::content::Checkpoint;
use super::write::{Content, Trailer};
use super::{AtomicFile, CheckpointError, read};

/// The name of the tensor, and the key of the header that announces it.
const CHECKSUM: &str = "checksum";
const ALGORITHM: &str = "crc32";
/// The bytes of the sum, little endian.
const BYTES: usize = 4;

/// Writes tensors and metadata to `path` as [`write`](super::write) does, with a checksum of the
/// whole file. An old file at `path` becomes `previous`. After an error or a crash, the old content
/// is in one of both.
///
/// # Errors
/// The folder is not writable or the disk is full.
pub fn write_checked(
    path: &Path,
    previous: &Path,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), CheckpointError> {
    let mut metadata = metadata.clone();
    metadata.insert(CHECKSUM.to_string(), ALGORITHM.to_string());
    let trailer = Trailer {
        name: CHECKSUM,
        bytes: BYTES,
    };
    let content = Content::new(tensors, &metadata, Some(trailer));
    let write = || {
        let mut file = AtomicFile::create(path)?;
        let mut summed = Summed {
            file: &mut file,
            crc: Crc::new(),
        };
        content.write_to(&mut summed)?;
        let sum = summed.crc.sum();
        file.write_all(&sum.to_le_bytes())?;
        file.commit_keeping(previous)
    };
    write().map_err(CheckpointError::write(path))
}

/// Reads a file of [`write_checked`], without the checksum. A file without one is read as it is.
///
/// # Errors
/// As [`read`], or if the checksum is wrong.
pub fn read_checked(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let mut checkpoint = read(path)?;
    let tensor = checkpoint.tensors.remove(CHECKSUM);
    let announced = checkpoint.metadata.remove(CHECKSUM);
    // Either is enough, so that damage to one does not hide the other.
    if tensor.is_none() && announced.is_none() {
        return Ok(checkpoint);
    }
    match checksum(path).map_err(CheckpointError::read(path))? {
        (expected, found) if expected == found => Ok(checkpoint),
        _ => Err(CheckpointError::invalid(path)(
            "its checksum does not match its content: it is damaged".to_string(),
        )),
    }
}

/// The checksum at the end of a file, and the sum of all bytes before it.
fn checksum(path: &Path) -> std::io::Result<(u32, u32)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut summed = Summed {
        file: &mut std::io::sink(),
        crc: Crc::new(),
    };
    let content = length.saturating_sub(BYTES as u64);
    std::io::copy(&mut (&mut file).take(content), &mut summed)?;
    let mut sum = [0; BYTES];
    file.read_exact(&mut sum)?;
    Ok((u32::from_le_bytes(sum), summed.crc.sum()))
}

/// A writer that sums up what it writes.
struct Summed<'a> {
    file: &'a mut dyn Write,
    crc: Crc,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor};

    use super::{read_checked, write_checked};

    #[test]
    fn every_damaged_byte_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.safetensors");
        let values = Tensor::arange(0f32, 9.0, &Device::Cpu).expect("a tensor");
        let whole = Tensor::arange(0u8, 3, &Device::Cpu).expect("a tensor");
        let tensors = [("x".to_string(), values), ("y".to_string(), whole)];
        let metadata = BTreeMap::from([("key".to_string(), "value".to_string())]);
        write_checked(&path, &folder.path().join("b"), &tensors, &metadata).expect("written");
        let read = read_checked(&path).expect("read");
        assert_eq!(read.metadata, metadata);
        assert_eq!(read.tensors.len(), 2);
        let bytes = std::fs::read(&path).expect("bytes");
        for at in 0..bytes.len() {
            for flipped in [0x01, 0x20, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flipped;
                std::fs::write(&path, &damaged).expect("written");
                assert!(read_checked(&path).is_err(), "byte {at} ^ {flipped}");
            }
            std::fs::write(&path, &bytes[..at]).expect("written");
            assert!(read_checked(&path).is_err(), "{at} bytes");
        }
        std::fs::write(&path, vec![0; bytes.len()]).expect("written");
        assert!(read_checked(&path).is_err(), "zeros");
    }

    #[test]
    fn the_old_file_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, previous] = ["a", "b"].map(|name| folder.path().join(name));
        for round in 0..3u32 {
            let number = Tensor::new(&[round], &Device::Cpu).expect("a tensor");
            let tensors = [("x".to_string(), number)];
            write_checked(&path, &previous, &tensors, &BTreeMap::new()).expect("written");
            assert_eq!(previous.exists(), round > 0);
        }
        for (file, expected) in [(path, 2), (previous, 1)] {
            let x = &read_checked(&file).expect("read").tensors["x"];
            assert_eq!(x.to_vec1::<u32>().expect("u32"), [expected]);
        }
    }
}
