//! CIFAR-100 and CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny
//! Images", 2009) from files, in the layouts they are published in.

mod binary;
mod layout;
pub mod names;
mod parquet;

use std::path::Path;

use super::cache::{Cache, SourceFile};
use super::{DataError, ImageSet};
use layout::Layout;

/// Height and width of every image, in pixels.
const SIZE: usize = 32;
/// Bytes of an image.
const PIXELS: usize = 3 * SIZE * SIZE;

/// What sets the two data sets apart.
#[derive(Debug)]
pub(super) struct Spec {
    /// The name in options and files.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// The repository on the Hub: owner and name.
    pub repo: (&'static str, &'static str),
    /// The channel means of the training images.
    pub mean: [f32; 3],
    /// Their standard deviations.
    pub std: [f32; 3],
    /// The classes that are learnt.
    pub classes: &'static [&'static str],
    /// The classes of these classes, if any.
    pub coarse_classes: &'static [&'static str],
    /// Images in the training and the test set.
    rows: (usize, usize),
    /// The label's column in parquet files.
    label_column: &'static str,
    /// Subfolders in which the files may lie.
    subfolders: &'static [&'static str],
    /// The files of the binary version.
    train_files: &'static [&'static str],
    test_files: &'static [&'static str],
    /// The binary version's archive.
    archive: &'static str,
    /// What the Python version's files are called.
    pickles: &'static [&'static str],
}

pub(super) const CIFAR100: Spec = Spec {
    name: "cifar100",
    title: "CIFAR-100",
    repo: ("uoft-cs", "cifar100"),
    mean: [0.507_075_2, 0.486_548_87, 0.440_917_84],
    std: [0.267_334_3, 0.256_438_46, 0.276_150_47],
    classes: &names::CIFAR100_FINE,
    coarse_classes: &names::CIFAR100_COARSE,
    rows: (50_000, 10_000),
    label_column: "fine_label",
    subfolders: &["cifar100", "data", "cifar-100-binary"],
    train_files: &["train.bin"],
    test_files: &["test.bin"],
    archive: "cifar-100-binary.tar.gz",
    pickles: &[
        "cifar-100-python.tar.gz",
        "cifar-100-python",
        "train",
        "meta",
    ],
};

pub(super) const CIFAR10: Spec = Spec {
    name: "cifar10",
    title: "CIFAR-10",
    repo: ("uoft-cs", "cifar10"),
    mean: [0.491_400_9, 0.482_159, 0.446_530_9],
    std: [0.247_032_2, 0.243_485_1, 0.261_587_8],
    classes: &names::CIFAR10,
    coarse_classes: &[],
    rows: (50_000, 10_000),
    label_column: "label",
    subfolders: &["cifar10", "plain_text", "data", "cifar-10-batches-bin"],
    train_files: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test_files: &["test_batch.bin"],
    archive: "cifar-10-binary.tar.gz",
    pickles: &[
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        "data_batch_1",
        "batches.meta",
    ],
};

impl Spec {
    /// Whether images have a coarse label too.
    fn has_coarse(&self) -> bool {
        !self.coarse_classes.is_empty()
    }

    /// The layouts that are understood, for messages.
    fn expected(&self) -> String {
        format!(
            "train-*.parquet and test-*.parquet, or {} and {}, or {}",
            self.train_files.join(", "),
            self.test_files.join(", "),
            self.archive
        )
    }
}

/// The images of a folder.
#[derive(Debug)]
pub(super) struct Loaded {
    pub train: ImageSet,
    pub test: ImageSet,
    /// The files they came from.
    pub files: Vec<SourceFile>,
    /// Whether both sets came out of the decoded cache.
    pub from_cache: bool,
    /// What is unusual about them.
    pub notes: Vec<String>,
}

/// Reads the data set from a folder (or from its archive), in any layout that is understood.
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
        // A file cut inside a record or page is an error; a whole one of another length may be
        // a subset that someone made.
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

/// Refuses a label that no class has.
fn check_label(
    path: &Path,
    what: &str,
    row: usize,
    label: i64,
    classes: usize,
) -> Result<u32, DataError> {
    match u32::try_from(label) {
        Ok(valid) if (valid as usize) < classes => Ok(valid),
        _ => Err(DataError::invalid(
            path,
            format!("{what} {label} of image {row} is out of range"),
            format!("0 to {}", classes - 1),
        )),
    }
}
