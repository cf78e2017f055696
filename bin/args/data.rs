//! Flags that choose images and their preprocessing.

use std::path::PathBuf;
use std::str::FromStr;

use candle_mish::data::{DataError, DataOptions, DatasetKind, Interpolation, Preprocess};
use clap::Args;

use super::range::{MAX_IMAGES, MAX_PAD, MAX_SIZE, count, number, positive, seed};
use super::set::{replace, set};
use crate::failure::usage;

/// Flags that choose the data set.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// cifar100, cifar10, mnist, fashion-mnist, synthetic, folder:PATH or auto. folder:PATH reads image
    /// files from PATH/train/CLASS and PATH/val/CLASS, or from PATH/CLASS. auto uses CIFAR-100 if
    /// available, else synthetic
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<DatasetArg>,
    /// Folder with the files of the data set [default: $CIFAR100_DIR, $CIFAR10_DIR, $MNIST_DIR or
    /// $FASHION_MNIST_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Branch, tag or commit of the data set on the Hugging Face Hub [default: main]
    #[arg(long, value_name = "REV")]
    pub revision: Option<String>,
    /// Folder for decoded images [default: the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Use only local files
    #[arg(long)]
    pub offline: bool,
    /// Black pixels on each side of the 28x28 images of mnist and fashion-mnist; 0 for none [default:
    /// 2, for 32x32 images]
    #[arg(long, value_name = "PIXELS", value_parser = count(0..=MAX_PAD))]
    pub pad: Option<usize>,
    /// Seed of the validation split and of the synthetic images [default: 0]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub data_seed: Option<u64>,
    /// Share of the training images to hold back for choosing the best epoch [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = number::<f64>(0.0..1.0))]
    pub val_split: Option<f64>,
    /// Use only the first N training images
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_IMAGES))]
    pub limit_train: Option<usize>,
    /// Use only the first N test images
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_IMAGES))]
    pub limit_test: Option<usize>,
}

impl DataArgs {
    /// Overrides `options` with the flags given.
    pub fn apply(&self, options: &mut DataOptions) {
        if let Some(DatasetArg { kind, folder }) = &self.dataset {
            options.dataset = *kind;
            replace(&mut options.data_dir, folder);
            // The padding of a run on MNIST does not apply to a data set that is not padded.
            options.pad = options.pad.filter(|_| kind.default_pad().is_some());
        }
        replace(&mut options.data_dir, &self.data_dir);
        replace(&mut options.cache_dir, &self.cache_dir);
        replace(&mut options.revision, &self.revision);
        replace(&mut options.limit_train, &self.limit_train);
        replace(&mut options.limit_test, &self.limit_test);
        // The default is recorded too.
        let pad = self.pad.or(options.pad).or(options.dataset.default_pad());
        replace(&mut options.pad, &pad);
        set(&mut options.seed, self.data_seed);
        set(&mut options.val_split, self.val_split);
        options.offline |= self.offline;
    }
}

/// The value of `--dataset`: a name, or `folder:` and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetArg {
    /// The data set.
    pub kind: DatasetKind,
    /// The path after `folder:`.
    pub folder: Option<PathBuf>,
}

impl FromStr for DatasetArg {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let folder = text.strip_prefix("folder:").map(PathBuf::from);
        Ok(Self {
            kind: text.parse()?,
            folder: folder.filter(|folder| !folder.as_os_str().is_empty()),
        })
    }
}

/// Flags that choose how image files become the network's input.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Preprocessing")]
pub struct PreprocessArgs {
    /// Height and width of the network's input [default: from the weights, or the network's own]
    #[arg(long, value_name = "PIXELS", value_parser = count(1..=MAX_SIZE))]
    pub img_size: Option<usize>,
    /// Share of an image's shorter side that the center crop keeps [default: from the weights, or
    /// 0.875]
    #[arg(long, value_name = "SHARE", value_parser = number::<f64>(0.01..=1.0))]
    pub crop_pct: Option<f64>,
    /// Filter for resizing, as in Pillow: bilinear or bicubic [default: from the weights, or
    /// bicubic]
    #[arg(long, value_name = "NAME")]
    pub interpolation: Option<Interpolation>,
    /// Mean of each channel [default: from the weights, or the data set's]
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3, value_parser = number::<f32>(..))]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel [default: from the weights, or the data set's]
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3,
          value_parser = number::<f32>(positive(1e38)))]
    pub std: Option<Vec<f32>>,
}

impl PreprocessArgs {
    /// Overrides `preprocess` with the flags given.
    ///
    /// # Errors
    /// If the result is out of range.
    pub fn apply(&self, preprocess: &mut Preprocess) -> anyhow::Result<()> {
        set(&mut preprocess.input_size, self.img_size);
        set(&mut preprocess.crop_pct, self.crop_pct);
        set(&mut preprocess.interpolation, self.interpolation);
        let channels = |values: &Option<Vec<f32>>| values.as_deref()?.try_into().ok();
        set(&mut preprocess.mean, channels(&self.mean));
        set(&mut preprocess.std, channels(&self.std));
        preprocess.check().map_err(usage)
    }
}
