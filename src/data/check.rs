//! The check of image files before they are used, and its record in the cache folder.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::cache::crc;
use super::decode::{DecodeOptions, Header};
use super::error::DataError;
use super::image::Image;
use super::options::BadImages;
use crate::atomic::write_atomically;

/// Reports the number of files that were checked, and the number of files to check. Several threads
/// call it.
pub type CheckProgress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// What a check found.
#[derive(Default)]
pub(super) struct Checked {
    /// The number of files that were checked.
    pub(super) files: usize,
    /// The files that cannot be decoded, and why.
    pub(super) bad: Vec<(PathBuf, String)>,
    /// The number of images with an orientation that only `exif_transpose` applies.
    pub(super) oriented: usize,
    /// The number of 16-bit grey images, which only `scale_16bit` scales.
    pub(super) grey_16bit: usize,
}

/// Checks `files` in their order until `wanted` are good. If bad images are an error, reads the
/// headers only; otherwise decodes all.
pub(super) fn check(
    files: &[&Path],
    wanted: usize,
    bad_images: BadImages,
    record: &mut Record,
    progress: CheckProgress,
) -> Checked {
    let mut found = Checked::default();
    let mut rest = files;
    let total = wanted.min(files.len()) as u64;
    loop {
        let good = found.files - found.bad.len();
        let (now, later) = rest.split_at(rest.len().min(wanted.saturating_sub(good)));
        if now.is_empty() || (bad_images == BadImages::Error && !found.bad.is_empty()) {
            return found;
        }
        let done = AtomicU64::new(found.files as u64);
        let results: Vec<_> = now
            .par_iter()
            .map(|file| {
                let result = examine(file, bad_images, record);
                let done = 1 + done.fetch_add(1, Ordering::Relaxed);
                progress(done.min(total), total);
                result
            })
            .collect();
        for (file, result) in now.iter().zip(results) {
            found.files += 1;
            match result {
                Ok((key, facts)) => {
                    found.oriented += usize::from(facts & ORIENTED != 0);
                    found.grey_16bit += usize::from(facts & GREY_16BIT != 0);
                    record.add(key, facts);
                }
                Err(error) => found.bad.push((file.to_path_buf(), error.problem())),
            }
        }
        rest = later;
    }
}

/// What is known of a good file, as bits.
type Facts = u8;
const ORIENTED: Facts = 1;
const GREY_16BIT: Facts = 2;
/// The image was decoded, not only its header.
const DECODED: Facts = 4;

fn examine(file: &Path, bad_images: BadImages, record: &Record) -> Result<(u64, Facts), DataError> {
    let io = |error| DataError::io(file, error);
    let metadata = std::fs::metadata(file).map_err(io)?;
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    metadata.len().hash(&mut hasher);
    metadata.modified().map_err(io)?.hash(&mut hasher);
    let key = hasher.finish();
    let decode = bad_images == BadImages::Skip;
    if let Some(facts) = record.facts.get(&key)
        && (!decode || facts & DECODED != 0)
    {
        return Ok((key, *facts));
    }
    let header = Header::read(file)?;
    let mut facts = 0;
    if header.oriented {
        facts |= ORIENTED;
    }
    if header.grey_16bit {
        facts |= GREY_16BIT;
    }
    if decode {
        Image::read_with(file, DecodeOptions::default())?;
        facts |= DECODED;
    }
    Ok((key, facts))
}

const MAGIC: &[u8; 8] = b"mishchk1";
/// The bytes of a file in the record: its key and its facts.
const ENTRY: usize = 9;
/// Fewer new files are checked again in less time than the record takes.
const FEWEST: usize = 256;

/// The good files of earlier checks in the cache folder, by path, length and modification time.
///
/// The keys are hashes of Rust's standard library. If another version computes others, the files
/// are checked again.
pub(super) struct Record {
    path: Option<PathBuf>,
    facts: HashMap<u64, Facts>,
    new: usize,
}

impl Record {
    /// The record for the images in `root`, empty if there is none or it is damaged.
    pub(super) fn read(cache: Option<&Path>, root: &Path) -> Self {
        let crc = crc(root.as_os_str().as_encoded_bytes());
        let path = cache.map(|folder| folder.join(format!("folder-{crc:08x}.checked")));
        let bytes = path.as_ref().and_then(|path| std::fs::read(path).ok());
        Self {
            path,
            facts: bytes.and_then(|bytes| parse(&bytes)).unwrap_or_default(),
            new: 0,
        }
    }

    fn add(&mut self, key: u64, facts: Facts) {
        if self.facts.insert(key, facts) != Some(facts) {
            self.new += 1;
        }
    }

    /// Writes the record, if enough files are new. The check does not depend on it, so a cache
    /// folder that cannot be written is no error.
    pub(super) fn write(&self) {
        let Some(path) = self.path.as_ref().filter(|_| self.new >= FEWEST) else {
            return;
        };
        if let Err(error) = self.write_to(path) {
            tracing::info!(
                "cannot store which images are checked in {}: {error}; the next run checks them \
                 again",
                path.display()
            );
        }
    }

    fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(self.facts.len() * ENTRY);
        for (key, facts) in &self.facts {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.push(*facts);
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        write_atomically(path, |file| {
            file.write_all(MAGIC)?;
            file.write_all(&crc(&bytes).to_le_bytes())?;
            file.write_all(&bytes)
        })
    }
}

fn parse(bytes: &[u8]) -> Option<HashMap<u64, Facts>> {
    let (sum, entries) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    if crc(entries) != u32::from_le_bytes(*sum) || entries.len() % ENTRY != 0 {
        return None;
    }
    let entry = |entry: &[u8]| {
        let (key, facts) = entry.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*key), *facts.first()?))
    };
    entries.chunks_exact(ENTRY).map(entry).collect()
}
