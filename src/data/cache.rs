//! A cache of decoded images on disk, so that later runs start faster.
//!
//! A cache file has a format version, the path, length and modification time of each source file,
//! and a checksum for each part. On any mismatch the images are decoded again. If the cache cannot
//! be written, its files are still read, and one warning says that decoded images are not stored.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::DataError;
use super::images::ImageSet;
use crate::atomic::write_atomically;

const MAGIC: &[u8; 8] = b"mishdata";
const VERSION: u32 = 1;
/// A longer header is invalid and is not read into memory.
const LONGEST_HEADER: u64 = 1 << 20;
/// Bytes of pixels with one checksum, read by one thread.
const CHUNK: usize = 1 << 22;

/// A source file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its absolute path, with links resolved.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its modification time, in nanoseconds since 1970.
    pub modified_ns: u64,
}

impl SourceFile {
    pub(super) fn of(path: &Path) -> Result<Self, DataError> {
        let read = || {
            let metadata = std::fs::metadata(path)?;
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
            Ok(Self {
                path: std::fs::canonicalize(path)?,
                bytes: metadata.len(),
                modified_ns: modified.map_or(0, |time| time.as_nanos() as u64),
            })
        };
        read().map_err(|error| DataError::io(path, error))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    version: u32,
    dataset: String,
    split: String,
    sources: Vec<SourceFile>,
    images: usize,
    height: usize,
    width: usize,
    coarse: bool,
    /// CRC-32 of the labels followed by the coarse labels.
    labels_crc: u32,
    /// CRC-32 of each chunk of pixels.
    chunks_crc: Vec<u32>,
}

/// The folder of decoded images.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Option<PathBuf>,
    /// Whether a warning has said that images are not stored.
    warned: AtomicBool,
}

impl Cache {
    /// The cache in `folder`, or in the user's cache folder if none.
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: self::folder(folder),
            warned: AtomicBool::new(false),
        }
    }

    /// The images of `sources`, and whether they come from the cache. If the cache does not have
    /// them, calls `decode` and stores the result.
    pub(super) fn get_or(
        &self,
        dataset: &str,
        split: &str,
        sources: &[SourceFile],
        decode: impl FnOnce() -> Result<ImageSet, DataError>,
    ) -> Result<(ImageSet, bool), DataError> {
        if let Some(images) = self.get(dataset, split, sources) {
            return Ok((images, true));
        }
        let images = decode()?;
        self.put(dataset, split, sources, &images);
        Ok((images, false))
    }

    /// The images of `sources`, if the cache has them and they are intact.
    pub(super) fn get(
        &self,
        dataset: &str,
        split: &str,
        sources: &[SourceFile],
    ) -> Option<ImageSet> {
        let path = self.path(dataset, split, sources)?;
        if !path.exists() {
            return None;
        }
        match read(&path, dataset, split, sources) {
            Ok(images) => Some(images),
            Err(reason) => {
                tracing::debug!("decoding the images again: {} {reason}", path.display());
                None
            }
        }
    }

    /// Stores `images` as the decoded images of `sources`.
    pub(super) fn put(
        &self,
        dataset: &str,
        split: &str,
        sources: &[SourceFile],
        images: &ImageSet,
    ) {
        let problem = match self.path(dataset, split, sources) {
            None => "there is no cache_dir and no home folder".to_owned(),
            Some(path) => match write(&path, dataset, split, sources, images) {
                Ok(()) => return,
                Err(error) => {
                    let folder = path.parent().unwrap_or(&path);
                    format!("cannot write to {}: {error}", folder.display())
                }
            },
        };
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("{problem}; the next run decodes the images of {dataset} again");
        }
    }

    fn path(&self, dataset: &str, split: &str, sources: &[SourceFile]) -> Option<PathBuf> {
        // The name depends on the paths of the files, the header on their content: a changed file
        // replaces its old cache.
        let mut crc = flate2::Crc::new();
        for source in sources {
            crc.update(source.path.as_os_str().as_encoded_bytes());
            crc.update(&[0]);
        }
        let name = format!("{dataset}-{split}-{:08x}.images", crc.sum());
        Some(self.folder.as_ref()?.join(name))
    }
}

/// The cache folder: `given`, or else the user's.
pub(super) fn folder(given: Option<&Path>) -> Option<PathBuf> {
    given.map(Path::to_owned).or_else(default_folder)
}

/// The folder `candle-mish` in the user's cache folder.
fn default_folder() -> Option<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Caches"))
    } else {
        variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
    };
    Some(base?.join("candle-mish"))
}

pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn write(
    path: &Path,
    dataset: &str,
    split: &str,
    sources: &[SourceFile],
    images: &ImageSet,
) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let labels: Vec<u8> = images
        .labels()
        .iter()
        .chain(images.coarse_labels().unwrap_or(&[]))
        .flat_map(|label| label.to_le_bytes())
        .collect();
    let mut pixels = Vec::with_capacity(images.len() * 3 * images.height() * images.width());
    for i in 0..images.len() {
        let image = images.image(i);
        let image = image.map_err(|error| std::io::Error::other(error.with_causes()))?;
        pixels.extend_from_slice(&image);
    }
    let header = Header {
        version: VERSION,
        dataset: dataset.to_owned(),
        split: split.to_owned(),
        sources: sources.to_vec(),
        images: images.len(),
        height: images.height(),
        width: images.width(),
        coarse: images.coarse_labels().is_some(),
        labels_crc: crc(&labels),
        chunks_crc: pixels.par_chunks(CHUNK).map(crc).collect(),
    };
    let header = serde_json::to_vec(&header)?;
    write_atomically(path, |file| {
        file.write_all(MAGIC)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        file.write_all(&labels)?;
        file.write_all(&pixels)
    })
}

fn read(
    path: &Path,
    dataset: &str,
    split: &str,
    sources: &[SourceFile],
) -> Result<ImageSet, String> {
    let io = |error: std::io::Error| format!("cannot be read ({error})");
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut start = [0; 16];
    file.read_exact(&mut start).map_err(io)?;
    let (magic, header_length) = start.split_at(8);
    let mut eight = [0; 8];
    eight.copy_from_slice(header_length);
    let header_length = u64::from_le_bytes(eight);
    if magic != MAGIC || header_length > LONGEST_HEADER {
        return Err("is not a cache of decoded images".to_owned());
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|error| format!("has a bad header ({error})"))?;
    if header.version != VERSION {
        return Err(format!("has the format {}", header.version));
    }
    if header.dataset != dataset || header.split != split || header.sources != sources {
        return Err("belongs to other files".to_owned());
    }
    let image = 3u64
        .checked_mul(header.height as u64)
        .and_then(|bytes| bytes.checked_mul(header.width as u64));
    let pixel_bytes = image.and_then(|bytes| bytes.checked_mul(header.images as u64));
    let label_bytes = (header.images as u64)
        .checked_mul(if header.coarse { 8 } else { 4 })
        .filter(|bytes| *bytes <= length);
    let (Some(pixel_bytes), Some(label_bytes)) = (pixel_bytes, label_bytes) else {
        return Err("has a bad header".to_owned());
    };
    let body = 16 + header_length;
    if (body + label_bytes).checked_add(pixel_bytes) != Some(length) {
        return Err(format!("has {length} bytes, not the length in its header"));
    }
    let mut labels = vec![0; label_bytes as usize];
    file.read_exact(&mut labels).map_err(io)?;
    let chunks = (pixel_bytes as usize).div_ceil(CHUNK);
    if crc(&labels) != header.labels_crc || chunks != header.chunks_crc.len() {
        return Err("is damaged".to_owned());
    }
    let mut labels: Vec<u32> = labels
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let coarse = header.coarse.then(|| labels.split_off(header.images));
    let mut pixels = vec![0; pixel_bytes as usize];
    pixels
        .par_chunks_mut(CHUNK)
        .zip(&header.chunks_crc)
        .enumerate()
        .try_for_each(|(index, (chunk, expected))| {
            // A handle for each chunk, because a handle has one position.
            let mut file = File::open(path).map_err(io)?;
            let at = body + label_bytes + (index * CHUNK) as u64;
            file.seek(SeekFrom::Start(at)).map_err(io)?;
            file.read_exact(chunk).map_err(io)?;
            if crc(chunk) == *expected {
                Ok(())
            } else {
                Err("is damaged".to_owned())
            }
        })?;
    ImageSet::new(pixels, header.height, header.width, labels, coarse)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::{Cache, ImageSet, SourceFile};

    /// Counts warnings.
    struct Warnings(Arc<AtomicUsize>);

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_missing_or_read_only_folder_gives_one_warning_and_the_images() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "in the way").expect("written");
        let source = SourceFile {
            path: PathBuf::from("/data"),
            bytes: 1,
            modified_ns: 1,
        };
        for (folder, expected) in [
            (None, 1),
            (Some(file.join("cache")), 1),
            (Some(folder.path().join("new")), 0),
        ] {
            let cache = Cache {
                folder: folder.clone(),
                warned: AtomicBool::new(false),
            };
            let count = Arc::new(AtomicUsize::new(0));
            tracing::subscriber::with_default(Warnings(count.clone()), || {
                for split in ["train", "test"] {
                    let decode = || ImageSet::new(vec![7; 12], 2, 2, vec![3], None);
                    let images = cache.get_or("set", split, std::slice::from_ref(&source), decode);
                    let (images, cached) = images.expect("images");
                    assert!(!cached && images.labels() == [3]);
                }
            });
            assert_eq!(count.load(Ordering::Relaxed), expected, "{folder:?}");
        }
    }
}
