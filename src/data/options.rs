//! The choice of a data set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::class_map::ClassMap;
use super::class_order::ClassOrder;
use super::error::DataError;
use super::preprocess::Preprocess;
use crate::suggest::suggest;

/// The data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// CIFAR-100 if available, otherwise the synthetic set.
    #[default]
    Auto,
    /// CIFAR-100.
    Cifar100,
    /// CIFAR-10.
    Cifar10,
    /// MNIST: handwritten digits.
    Mnist,
    /// Fashion-MNIST: pieces of clothing.
    #[serde(rename = "fashion-mnist")]
    FashionMnist,
    /// The procedural set.
    Synthetic,
    /// A tree of image files with a folder for each class.
    Folder,
}

impl DatasetKind {
    /// All data sets.
    pub const ALL: [Self; 7] = [
        Self::Auto,
        Self::Cifar100,
        Self::Cifar10,
        Self::Mnist,
        Self::FashionMnist,
        Self::Synthetic,
        Self::Folder,
    ];

    /// The name in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cifar100 => "cifar100",
            Self::Cifar10 => "cifar10",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Synthetic => "synthetic",
            Self::Folder => "folder",
        }
    }

    /// The channels of its images: 1 for data sets of grey images, else 3.
    pub fn channels(self) -> usize {
        match self {
            Self::Mnist | Self::FashionMnist => 1,
            _ => 3,
        }
    }

    /// Pixels of black on each side of its images if the options set no [`pad`](DataOptions::pad).
    /// `None` for data sets that are not padded.
    pub fn default_pad(self) -> Option<usize> {
        match self {
            Self::Mnist | Self::FashionMnist => Some(2),
            _ => None,
        }
    }

    /// The [`pad`](DataOptions::pad) that makes its images `size` pixels high and wide, if one does.
    pub fn pad_to(self, size: usize) -> Option<usize> {
        let border = size.checked_sub(28)?;
        (self.default_pad().is_some() && border.is_multiple_of(2)).then_some(border / 2)
    }

    /// Whether a mirrored image still shows its class. A mirrored digit does not.
    pub fn allows_mirroring(self) -> bool {
        self != Self::Mnist
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DatasetKind {
    type Err = DataError;

    /// Parses a name, ignoring case, `-` and `_`. `folder:PATH` parses as [`Self::Folder`] without
    /// its path.
    fn from_str(name: &str) -> Result<Self, DataError> {
        if name.starts_with("folder:") {
            return Ok(Self::Folder);
        }
        let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
        let named = |kind: &Self| plain(kind.name()) == plain(name);
        if let Some(kind) = Self::ALL.into_iter().find(named) {
            return Ok(kind);
        }
        let suggestion = suggest(&plain(name), Self::ALL.map(Self::name));
        Err(DataError::UnknownDataset {
            name: name.to_owned(),
            suggestion,
        })
    }
}

/// The widest padding. It makes images of 28 x 28 pixels 540 x 540.
const WIDEST_PAD: usize = 256;

/// What to do about image files that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadImages {
    /// An error that lists them. The headers of all files are checked first.
    #[default]
    Error,
    /// Leave them out, and record them in [`Source::skipped`](super::Source::skipped). All files are
    /// decoded first.
    Skip,
}

impl BadImages {
    /// Both values.
    pub const ALL: [Self; 2] = [Self::Error, Self::Skip];

    /// The name in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Skip => "skip",
        }
    }
}

/// The data set, its location, and how much of it to use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DataOptions {
    /// The data set.
    pub dataset: DatasetKind,
    /// The folder with its files, or its archive.
    pub data_dir: Option<PathBuf>,
    /// The folder where an earlier run found the files. It counts before the Hub, if it still exists and
    /// neither `data_dir` nor an environment variable names a folder.
    #[serde(skip)]
    pub earlier_dir: Option<PathBuf>,
    /// The branch, tag or commit on the Hub; the branch `main` if none.
    pub revision: Option<String>,
    /// The folder for decoded images; the user's cache folder if none.
    pub cache_dir: Option<PathBuf>,
    /// Whether to use only local files and the Hub's cache.
    pub offline: bool,
    /// The seed of the validation split and of the synthetic set.
    pub seed: u64,
    /// The fraction of the training images, after `limit_train`, to hold back for validation, evenly
    /// over the classes, in [0, 1).
    pub val_split: f64,
    /// How hard the synthetic set is, from 0, its default, to 1. Other data sets have no difficulty.
    pub synthetic_difficulty: Option<f64>,
    /// The number of training images to use, from the first on; all if none.
    pub limit_train: Option<usize>,
    /// The number of test images to use, from the first on; all if none.
    pub limit_test: Option<usize>,
    /// The order of an image folder's classes.
    pub class_order: ClassOrder,
    /// What to do about image files that cannot be decoded.
    pub bad_images: BadImages,
    /// The files of an image folder to leave out, relative to `data_dir`. A run records the files
    /// that it skipped, so that it resumes with the same images.
    pub skipped: Vec<PathBuf>,
    /// Whether to leave out the class folders that `class_map` or the network does not know.
    /// Otherwise they are an error.
    pub ignore_unknown_classes: bool,
    /// Whether to transpose image files by the orientation in their metadata, as Pillow's
    /// `ImageOps.exif_transpose`.
    pub exif_transpose: bool,
    /// Whether to scale 16-bit grey images to 8 bits. Otherwise values above 255 are white, as in
    /// Pillow.
    pub scale_16bit: bool,
    /// Pixels of black on each side of the images of MNIST and Fashion-MNIST. If none, 2, which makes
    /// the 28x28 images 32x32 as CIFAR's. Other data sets are not padded.
    pub pad: Option<usize>,
    /// The preprocessing of an image folder; timm's default if none.
    pub preprocess: Option<Preprocess>,
    /// The labels of an image folder's classes. If none, the classes are numbered in `class_order`.
    pub class_map: Option<ClassMap>,
}

impl DataOptions {
    /// Pixels of black on each side of the images.
    pub(super) fn padding(&self) -> usize {
        self.pad.or(self.dataset.default_pad()).unwrap_or(0)
    }

    /// Refuses values that are out of range or do not fit the data set.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(&self) -> Result<(), DataError> {
        if let Some(pad) = self.pad {
            let problem = match self.dataset.default_pad() {
                // No border is what they have.
                None if pad == 0 => None,
                None => Some(format!(
                    "{} is not padded, only mnist and fashion-mnist",
                    self.dataset
                )),
                Some(_) if pad > WIDEST_PAD => Some(format!("expected 0 to {WIDEST_PAD} pixels")),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                return Err(DataError::Option {
                    option: "pad",
                    value: pad.to_string(),
                    problem,
                });
            }
        }
        if let Some(difficulty) = self.synthetic_difficulty {
            let problem = match self.dataset {
                DatasetKind::Synthetic if (0.0..=1.0).contains(&difficulty) => None,
                DatasetKind::Synthetic => Some("expected 0 to 1".to_owned()),
                other => Some(format!("{other} has no difficulty, only synthetic")),
            };
            if let Some(problem) = problem {
                return Err(DataError::Option {
                    option: "synthetic_difficulty",
                    value: difficulty.to_string(),
                    problem,
                });
            }
        }
        if !(0.0..1.0).contains(&self.val_split) {
            return Err(DataError::Option {
                option: "val_split",
                value: self.val_split.to_string(),
                problem: "expected a fraction of at least 0 and below 1".to_owned(),
            });
        }
        for (option, limit) in [
            ("limit_train", self.limit_train),
            ("limit_test", self.limit_test),
        ] {
            if limit == Some(0) {
                return Err(DataError::Option {
                    option,
                    value: "0".to_owned(),
                    problem: "no image would be left; expected at least 1".to_owned(),
                });
            }
        }
        Ok(())
    }
}
