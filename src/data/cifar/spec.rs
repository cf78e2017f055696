//! The differences between CIFAR-100 and CIFAR-10.

use std::path::Path;

use super::names;
use crate::data::error::DataError;

/// Height and width of every image, in pixels.
pub(super) const SIZE: usize = 32;
/// Bytes of an image.
pub(super) const PIXELS: usize = 3 * SIZE * SIZE;

/// Names, classes and files of a data set.
#[derive(Debug)]
pub struct Spec {
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
    /// The (fine) classes.
    pub classes: &'static [&'static str],
    /// The coarse classes; empty if there are none.
    pub coarse_classes: &'static [&'static str],
    /// Images in the training and the test set.
    pub(super) rows: (usize, usize),
    /// The column of the label in parquet files.
    pub(super) label_column: &'static str,
    /// Subfolders that may have the files.
    pub(super) subfolders: &'static [&'static str],
    /// The files of the binary version.
    pub(super) train_files: &'static [&'static str],
    pub(super) test_files: &'static [&'static str],
    /// The archive of the binary version.
    pub(super) archive: &'static str,
    /// The file names of the Python version.
    pub(super) pickles: &'static [&'static str],
}

pub const CIFAR100: Spec = Spec {
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

pub const CIFAR10: Spec = Spec {
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
    /// Whether images also have a coarse label.
    pub(super) fn has_coarse(&self) -> bool {
        !self.coarse_classes.is_empty()
    }

    /// The supported layouts, for messages.
    pub(super) fn expected(&self) -> String {
        format!(
            "train-*.parquet and test-*.parquet, or {} and {}, or {}",
            self.train_files.join(", "),
            self.test_files.join(", "),
            self.archive
        )
    }
}

/// Refuses a label that no class has.
pub(super) fn check_label(
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
