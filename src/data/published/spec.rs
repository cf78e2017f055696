//! The table of the published data sets: their classes, statistics and files.

use std::path::Path;

use super::names;
use crate::data::error::DataError;

/// Names, classes and files of a data set.
#[derive(Debug)]
pub struct Spec {
    /// The name in options and files.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// The repository on the Hub: owner and name.
    pub repo: (&'static str, &'static str),
    /// The environment variable with its folder.
    pub variable: &'static str,
    /// The ways to name its folder, for messages.
    pub setting: &'static str,
    /// 3 for RGB, 1 for grey images.
    pub(super) channels: usize,
    /// Height and width of the stored images, in pixels.
    pub(super) size: usize,
    /// The channel means of the stored training images, of pixels in [0, 1].
    pub(super) mean: [f32; 3],
    /// Their standard deviations.
    pub(super) std: [f32; 3],
    /// The (fine) classes.
    pub classes: &'static [&'static str],
    /// The coarse classes; empty if there are none.
    pub coarse_classes: &'static [&'static str],
    /// Images in the training and the test set.
    pub(super) rows: (usize, usize),
    /// The columns that may have the label in parquet files, the most specific first.
    pub(super) label_columns: &'static [&'static str],
    /// Subfolders that may have the files.
    pub(super) subfolders: &'static [&'static str],
    /// Its layouts apart from parquet.
    pub(super) layouts: &'static [Files],
}

/// The files of one published layout.
#[derive(Debug)]
pub(super) struct Files {
    pub format: Format,
    /// The files of the training set, in order.
    pub train: &'static [&'static str],
    /// The files of the test set, in order.
    pub test: &'static [&'static str],
    /// The archive that has all of them.
    pub archive: Option<&'static str>,
    /// The files, for messages.
    pub described: &'static str,
}

/// The formats of files apart from parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// CIFAR's binary version.
    Binary,
    /// CIFAR's Python version: pickles.
    Python,
    /// MNIST's format: a file of images, then a file of labels.
    Idx,
}

/// The environment variable with the folder of CIFAR-100.
pub const CIFAR100_DIR: &str = "CIFAR100_DIR";

const IDX: Files = Files {
    format: Format::Idx,
    train: &["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
    test: &["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
    archive: None,
    described: "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                t10k-labels-idx1-ubyte, each with or without .gz",
};

pub const CIFAR100: Spec = Spec {
    name: "cifar100",
    title: "CIFAR-100",
    repo: ("uoft-cs", "cifar100"),
    variable: CIFAR100_DIR,
    setting: "data_dir or CIFAR100_DIR",
    channels: 3,
    size: 32,
    mean: [0.507_075_2, 0.486_548_87, 0.440_917_84],
    std: [0.267_334_3, 0.256_438_46, 0.276_150_47],
    classes: &names::CIFAR100_FINE,
    coarse_classes: &names::CIFAR100_COARSE,
    rows: (50_000, 10_000),
    label_columns: &["fine_label", "fine_labels", "label", "labels"],
    subfolders: &["cifar100", "data", "cifar-100-binary", "cifar-100-python"],
    layouts: &[
        Files {
            format: Format::Binary,
            train: &["train.bin"],
            test: &["test.bin"],
            archive: Some("cifar-100-binary.tar.gz"),
            described: "train.bin and test.bin",
        },
        Files {
            format: Format::Python,
            train: &["train"],
            test: &["test"],
            archive: Some("cifar-100-python.tar.gz"),
            described: "the pickles train and test",
        },
    ],
};

pub const CIFAR10: Spec = Spec {
    name: "cifar10",
    title: "CIFAR-10",
    repo: ("uoft-cs", "cifar10"),
    variable: "CIFAR10_DIR",
    setting: "data_dir or CIFAR10_DIR",
    mean: [0.491_400_9, 0.482_159, 0.446_530_9],
    std: [0.247_032_2, 0.243_485_1, 0.261_587_8],
    classes: &names::CIFAR10,
    coarse_classes: &[],
    label_columns: &["label", "labels"],
    subfolders: &[
        "cifar10",
        "plain_text",
        "data",
        "cifar-10-batches-bin",
        "cifar-10-batches-py",
    ],
    layouts: &[
        Files {
            format: Format::Binary,
            train: &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            test: &["test_batch.bin"],
            archive: Some("cifar-10-binary.tar.gz"),
            described: "data_batch_1.bin to data_batch_5.bin and test_batch.bin",
        },
        Files {
            format: Format::Python,
            train: &[
                "data_batch_1",
                "data_batch_2",
                "data_batch_3",
                "data_batch_4",
                "data_batch_5",
            ],
            test: &["test_batch"],
            archive: Some("cifar-10-python.tar.gz"),
            described: "the pickles data_batch_1 to data_batch_5 and test_batch",
        },
    ],
    ..CIFAR100
};

pub const MNIST: Spec = Spec {
    name: "mnist",
    title: "MNIST",
    repo: ("ylecun", "mnist"),
    variable: "MNIST_DIR",
    setting: "data_dir or MNIST_DIR",
    channels: 1,
    size: 28,
    mean: [0.130_660_48; 3],
    std: [0.308_107_8; 3],
    classes: &names::MNIST,
    coarse_classes: &[],
    rows: (60_000, 10_000),
    label_columns: &["label", "labels"],
    subfolders: &["mnist", "data", "MNIST/raw", "raw", "MNIST"],
    layouts: &[IDX],
};

pub const FASHION_MNIST: Spec = Spec {
    name: "fashion-mnist",
    title: "Fashion-MNIST",
    repo: ("zalando-datasets", "fashion_mnist"),
    variable: "FASHION_MNIST_DIR",
    setting: "data_dir or FASHION_MNIST_DIR",
    mean: [0.286_040_6; 3],
    std: [0.353_024_24; 3],
    classes: &names::FASHION_MNIST,
    subfolders: &[
        "fashion_mnist",
        "data",
        "FashionMNIST/raw",
        "raw",
        "FashionMNIST",
        "data/fashion",
    ],
    ..MNIST
};

impl Spec {
    /// Whether images also have a coarse label.
    pub(super) fn has_coarse(&self) -> bool {
        !self.coarse_classes.is_empty()
    }

    /// Bytes of a stored image.
    pub(super) fn bytes(&self) -> usize {
        self.channels * self.size * self.size
    }

    /// Mean and standard deviation of each channel of the training images with `pad` pixels of black
    /// on each side.
    pub(in crate::data) fn statistics(&self, pad: usize) -> ([f32; 3], [f32; 3]) {
        if pad == 0 {
            return (self.mean, self.std);
        }
        let side = |size: usize| (size * size) as f64;
        let share = side(self.size) / side(self.size + 2 * pad);
        let padded = self.mean.iter().zip(&self.std).map(|(&mean, &std)| {
            let (mean, std) = (f64::from(mean), f64::from(std));
            // Black adds nothing to the sums of values and of squares.
            let square = (mean * mean + std * std) * share;
            let mean = mean * share;
            (mean as f32, (square - mean * mean).sqrt() as f32)
        });
        let (mut means, mut stds) = ([0.0; 3], [0.0; 3]);
        for (channel, (mean, std)) in padded.enumerate() {
            (means[channel], stds[channel]) = (mean, std);
        }
        (means, stds)
    }

    /// The supported layouts, for messages.
    pub(super) fn expected(&self) -> String {
        let files = self.layouts.iter().map(|files| files.described);
        let archives = self.layouts.iter().filter_map(|files| files.archive);
        let all = ["train-*.parquet and test-*.parquet"].into_iter();
        all.chain(files)
            .chain(archives)
            .collect::<Vec<_>>()
            .join(", or ")
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
