//! CIFAR-100 and CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny
//! Images", 2009) from files, in their published layouts.

mod binary;
mod layout;
pub mod names;
mod parquet;
mod spec;

use std::path::Path;

use super::cache::{Cache, SourceFile};
use super::error::DataError;
use super::images::ImageSet;
use layout::Layout;
pub(super) use spec::{CIFAR10, CIFAR100, Spec};

/// The channel means of CIFAR-10's training images, RGB, of pixels in [0, 1].
pub const CIFAR10_MEAN: [f32; 3] = CIFAR10.mean;
/// Their standard deviations.
pub const CIFAR10_STD: [f32; 3] = CIFAR10.std;
/// The channel means of CIFAR-100's training images, RGB, of pixels in [0, 1].
pub const CIFAR100_MEAN: [f32; 3] = CIFAR100.mean;
/// Their standard deviations.
pub const CIFAR100_STD: [f32; 3] = CIFAR100.std;

/// The images of a folder.
#[derive(Debug)]
pub(super) struct Loaded {
    pub train: ImageSet,
    pub test: ImageSet,
    /// The source files.
    pub files: Vec<SourceFile>,
    /// Whether both sets come from the cache of decoded images.
    pub from_cache: bool,
    /// Unusual properties of the sets.
    pub notes: Vec<String>,
}

/// Reads the data set from a folder or from its archive, in any supported layout.
pub(super) fn load(path: &Path, spec: &Spec, cache: &Cache) -> Result<Loaded, DataError> {
    let layout = Layout::find(path, spec)?;
    tracing::debug!(?layout, "reading {}", spec.title);
    let (train, test, files, from_cache) = match &layout {
        Layout::Binary { train, test } => (
            binary::read(train, spec)?,
            binary::read(test, spec)?,
            identify(train.iter().chain(test))?,
            false,
        ),
        Layout::Parquet { train, test } => {
            let (train_files, test_files) = (identify(train)?, identify(test)?);
            let (train, train_cached) = cache.get_or(spec.name, "train", &train_files, || {
                parquet::read(train, spec)
            })?;
            let (test, test_cached) =
                cache.get_or(spec.name, "test", &test_files, || parquet::read(test, spec))?;
            let files = train_files.into_iter().chain(test_files).collect();
            (train, test, files, train_cached && test_cached)
        }
        Layout::Archive(archive) => {
            let files = identify([archive])?;
            let both = (
                cache.get(spec.name, "train", &files),
                cache.get(spec.name, "test", &files),
            );
            if let (Some(train), Some(test)) = both {
                (train, test, files, true)
            } else {
                let (train, test) = binary::read_archive(archive, spec)?;
                cache.put(spec.name, "train", &files, &train);
                cache.put(spec.name, "test", &files, &test);
                (train, test, files, false)
            }
        }
    };
    let mut notes = Vec::new();
    for (split, images, rows) in [
        ("training", &train, spec.rows.0),
        ("test", &test, spec.rows.1),
    ] {
        // A file cut inside a record or page is an error. Complete records in another number may be
        // a deliberate subset.
        if images.len() != rows {
            notes.push(format!(
                "{} {split} images in {} where {} has {rows}",
                images.len(),
                path.display(),
                spec.title
            ));
        }
    }
    Ok(Loaded {
        train,
        test,
        files,
        from_cache,
        notes,
    })
}

fn identify<'a>(
    paths: impl IntoIterator<Item = &'a std::path::PathBuf>,
) -> Result<Vec<SourceFile>, DataError> {
    paths.into_iter().map(|path| SourceFile::of(path)).collect()
}
