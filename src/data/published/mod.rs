//! CIFAR-100, CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
//! 2009), MNIST (Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998)
//! and Fashion-MNIST (H. Xiao et al., 2017) from files, in their published layouts.

mod archive;
mod binary;
mod files;
mod idx;
mod layout;
mod limits;
pub mod names;
mod parquet;
mod python;
mod rows;
mod spec;

use std::path::{Path, PathBuf};

use super::cache::{Cache, SourceFile};
use super::error::DataError;
use super::images::ImageSet;
use files::{read_file, read_files};
use layout::Layout;
pub use spec::CIFAR100_DIR;
pub(super) use spec::{CIFAR10, CIFAR100, FASHION_MNIST, MNIST, Spec};

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

/// Reads the data set from a folder or from its archive, in any supported layout, and adds `pad`
/// pixels of black on each side of the images.
pub(super) fn load(
    path: &Path,
    spec: &Spec,
    pad: usize,
    cache: &Cache,
) -> Result<Loaded, DataError> {
    let layout = Layout::find(path, spec)?;
    tracing::debug!(?layout, "reading {}", spec.title);
    let mut notes = Vec::new();
    let (train, test, files, from_cache) = match &layout {
        Layout::Files {
            format,
            train,
            test,
        } => {
            let read = |paths: &[PathBuf]| {
                let files = paths
                    .iter()
                    .map(|path| Ok((path.clone(), read_file(path, spec)?)));
                read_files(*format, files, spec)?.into_images(spec, pad)
            };
            let files = identify(train.iter().chain(test))?;
            (read(train)?, read(test)?, files, false)
        }
        Layout::Parquet { train, test } => {
            notes.extend(parquet::class_note(train, spec));
            let (train_files, test_files) = (identify(train)?, identify(test)?);
            let read = |paths: &[PathBuf]| parquet::read(paths, spec)?.into_images(spec, pad);
            // The cache holds RGB images. Small grey ones decode in less than a second.
            let cached = |split, files: &[SourceFile], paths: &[PathBuf]| match spec.channels {
                1 => Ok((read(paths)?, false)),
                _ => cache.get_or(spec.name, split, files, || read(paths)),
            };
            let (train, train_cached) = cached("train", &train_files, train)?;
            let (test, test_cached) = cached("test", &test_files, test)?;
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
                let (train, test) = archive::read(archive, spec)?;
                let (train, test) = (train.into_images(spec, pad)?, test.into_images(spec, pad)?);
                cache.put(spec.name, "train", &files, &train);
                cache.put(spec.name, "test", &files, &test);
                (train, test, files, false)
            }
        }
    };
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
    notes.extend(brightness_note(path, &train, spec, pad));
    Ok(Loaded {
        train,
        test,
        files,
        from_cache,
        notes,
    })
}

/// Warns if a whole set of grey images is as bright as another data set: MNIST and Fashion-MNIST have
/// files of the same names and sizes.
fn brightness_note(path: &Path, train: &ImageSet, spec: &Spec, pad: usize) -> Option<String> {
    /// More than any rounding, less than the difference of the two.
    const DIFFERENT: f64 = 0.02;
    if spec.channels != 1 || train.len() != spec.rows.0 {
        return None;
    }
    let sum = |i| {
        let image = train.image(i).unwrap_or_default();
        image.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    let sum: u64 = (0..train.len()).map(sum).sum();
    let pixels = train.len() * train.height() * train.width();
    let mean = sum as f64 / pixels as f64 / 255.0;
    let right = f64::from(spec.statistics(pad).0[0]);
    ((mean - right).abs() > DIFFERENT).then(|| {
        format!(
            "{} has training images with a mean of {mean:.4}, {} has {right:.4}: is it another data \
             set?",
            path.display(),
            spec.title
        )
    })
}

fn identify<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<Vec<SourceFile>, DataError> {
    paths.into_iter().map(|path| SourceFile::of(path)).collect()
}
