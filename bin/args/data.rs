//! Flags that choose images and their preprocessing.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use candle_mish::data::{
    BadImages, ClassMap, ClassOrder, DataError, DataOptions, DatasetKind, DecodeOptions,
    Interpolation, Preprocess,
};
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
    /// Difficulty of the synthetic set, from 0 (almost clean) to 1 (strong noise, clutter, faint
    /// images of other classes) [default: 0]
    #[arg(long, value_name = "D", value_parser = number::<f64>(0.0..=1.0))]
    pub synthetic_difficulty: Option<f64>,
    /// Share of the training images to hold back for choosing the best epoch [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = number::<f64>(0.0..1.0))]
    pub val_split: Option<f64>,
    /// Use only the first N training images. The classes of a folder take turns
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_IMAGES))]
    pub limit_train: Option<usize>,
    /// Use only the first N test images. The classes of a folder take turns
    #[arg(long, value_name = "N", value_parser = count(1..=MAX_IMAGES))]
    pub limit_test: Option<usize>,
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Flags for folders of image files.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Image folders")]
pub struct FolderArgs {
    /// Order that numbers the class folders: lexical (0, 1, 10, 2; torchvision) or natural (0, 1, 2,
    /// 10; timm) [default: lexical]
    #[arg(long, value_name = "ORDER", value_parser = class_order)]
    pub class_order: Option<ClassOrder>,
    /// File with the label of each class folder: one class per line in the order of the labels, lines
    /// of `name label` or `name,label`, or a JSON object
    #[arg(long, value_name = "FILE", value_parser = class_map)]
    pub class_map: Option<ClassMap>,
    /// Leave out class folders that the network or the class map does not know, instead of failing
    #[arg(long)]
    pub ignore_unknown_classes: bool,
    /// What to do about images that cannot be decoded: error checks all headers first and lists the
    /// bad images; skip decodes all images first and leaves the bad ones out [default: error]
    #[arg(long, value_name = "ACTION", value_parser = bad_images)]
    pub bad_images: Option<BadImages>,
    #[command(flatten)]
    pub decode: DecodeArgs,
}

/// Flags that choose how image files are decoded.
#[derive(Debug, Clone, Default, Args)]
pub struct DecodeArgs {
    /// Transpose images by the orientation in their EXIF data, as PIL.ImageOps.exif_transpose
    #[arg(long)]
    pub exif_transpose: bool,
    /// Scale 16-bit grey images to 8 bits. By default, values above 255 are white, as in Pillow
    #[arg(long)]
    pub scale_16bit: bool,
}

impl DecodeArgs {
    /// The flags as options of the decoder.
    pub fn options(&self) -> DecodeOptions {
        DecodeOptions {
            exif_transpose: self.exif_transpose,
            scale_16bit: self.scale_16bit,
        }
    }
}

impl FolderArgs {
    fn apply(&self, options: &mut DataOptions) {
        set(&mut options.class_order, self.class_order);
        set(&mut options.bad_images, self.bad_images);
        replace(&mut options.class_map, &self.class_map);
        options.ignore_unknown_classes |= self.ignore_unknown_classes;
        options.exif_transpose |= self.decode.exif_transpose;
        options.scale_16bit |= self.decode.scale_16bit;
    }
}

fn class_order(name: &str) -> Result<ClassOrder, String> {
    let all = ClassOrder::ALL;
    let found = all.into_iter().find(|order| order.name() == name);
    found.ok_or_else(|| "expected lexical or natural".to_string())
}

fn bad_images(name: &str) -> Result<BadImages, String> {
    let all = BadImages::ALL;
    let found = all.into_iter().find(|action| action.name() == name);
    found.ok_or_else(|| "expected error or skip".to_string())
}

/// Reads the file of `--class-map`.
pub fn class_map(path: &str) -> Result<ClassMap, String> {
    // clap names the file already.
    ClassMap::read(Path::new(path)).map_err(|error| match error {
        DataError::Invalid {
            problem, expected, ..
        } => format!("{problem}; expected {expected}"),
        DataError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    })
}

impl DataArgs {
    /// Overrides `options` with the flags given.
    pub fn apply(&self, options: &mut DataOptions) {
        if let Some(DatasetArg { kind, folder }) = &self.dataset {
            options.dataset = *kind;
            replace(&mut options.data_dir, folder);
            // The padding of a run on MNIST and the difficulty of the synthetic set do not apply to
            // other data sets.
            options.pad = options.pad.filter(|_| kind.default_pad().is_some());
            let difficulty = options.synthetic_difficulty;
            let synthetic = *kind == DatasetKind::Synthetic;
            options.synthetic_difficulty = difficulty.filter(|_| synthetic);
        }
        replace(&mut options.data_dir, &self.data_dir);
        replace(&mut options.cache_dir, &self.cache_dir);
        replace(&mut options.revision, &self.revision);
        replace(
            &mut options.synthetic_difficulty,
            &self.synthetic_difficulty,
        );
        replace(&mut options.limit_train, &self.limit_train);
        replace(&mut options.limit_test, &self.limit_test);
        // The default is recorded too.
        let pad = self.pad.or(options.pad).or(options.dataset.default_pad());
        replace(&mut options.pad, &pad);
        set(&mut options.seed, self.data_seed);
        set(&mut options.val_split, self.val_split);
        options.offline |= self.offline;
        self.folder.apply(options);
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
    /// Share of an image's shorter side that the centre crop keeps [default: from the weights, or
    /// 0.875]
    #[arg(long, value_name = "SHARE", value_parser = number::<f64>(0.01..=1.0))]
    pub crop_pct: Option<f64>,
    /// Filter for resizing, as in Pillow: bilinear or bicubic [default: from the weights, or
    /// bicubic]
    #[arg(long, value_name = "NAME")]
    pub interpolation: Option<Interpolation>,
    /// folder: mean of each channel [default: from the weights, or ImageNet's]
    #[arg(long, value_names = ["R", "G", "B"], num_args = 3, value_parser = number::<f32>(..))]
    pub mean: Option<Vec<f32>>,
    /// folder: standard deviation of each channel [default: from the weights, or ImageNet's]
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
