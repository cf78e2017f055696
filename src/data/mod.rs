//! Data sets and the loader that makes batches of them.
//!
//! [`open()`] reads CIFAR-100, CIFAR-10, MNIST or Fashion-MNIST from a folder, an archive or the
//! Hugging Face Hub, a tree of image files, or generates a data set that needs neither files nor a
//! network. A [`Loader`] makes normalised, augmented batches on a thread of its own. [`Preprocess`]
//! brings images of any size to a network's size, as timm does.

pub mod augment;
mod batch;
mod cache;
mod check;
mod class_map;
mod class_order;
mod classes;
mod contact_sheet;
mod dataset;
mod decode;
mod erasing;
mod error;
mod flip;
mod hub;
mod image;
mod image_folder;
mod image_sizes;
pub mod imagenet;
mod images;
mod input_noise;
mod jpeg;
mod loader;
mod metadata;
mod mixup;
mod open;
mod options;
mod order;
mod part;
mod preprocess;
mod published;
mod random;
mod resample;
mod resized_crop;
mod shard;
mod split;
pub mod synthetic;
mod tree;
mod unlabelled;

#[cfg(feature = "swap")]
pub(crate) use augment::channel_moments;
pub use augment::{Augmentation, AutoAugment, ColorJitter, PadMode, PixelAugmentation};
pub use batch::Batch;
pub use cache::SourceFile;
pub use check::CheckProgress;
pub use class_map::ClassMap;
pub use class_order::ClassOrder;
pub use classes::UnknownClasses;
pub use contact_sheet::contact_sheet;
pub use dataset::{Dataset, Origin, Source};
pub use decode::DecodeOptions;
pub use erasing::{EraseMode, RandomErasing};
pub use error::DataError;
pub use flip::FlipMode;
pub use image::Image;
pub use image_folder::CheckedSplits;
pub use image_sizes::ImageSizes;
pub use images::ImageSet;
pub use loader::{Epoch, Loader, LoaderConfig};
pub use mixup::{Mixup, MixupMode};
pub use open::{open, open_with};
pub use options::{BadImages, DataOptions, DatasetKind};
pub use preprocess::{IMAGENET_MEAN, IMAGENET_STD, Preprocess};
pub use published::{CIFAR10_MEAN, CIFAR10_STD, CIFAR100_DIR, CIFAR100_MEAN, CIFAR100_STD, names};
pub use resample::Interpolation;
pub use resized_crop::ResizedCrop;
pub use tree::image_files;
