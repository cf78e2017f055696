//! A data set and the record of its origin.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::cache::SourceFile;
use super::images::ImageSet;
use super::options::DatasetKind;

/// A data set, in memory or in files.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `cifar100`, `cifar10`, `mnist`, `fashion-mnist`, `synthetic`, or `folder:` with the name of the folder. Parses as a
    /// [`DatasetKind`].
    pub name: String,
    /// The training images.
    pub train: ImageSet,
    /// The training images held back for validation, if the options ask for them.
    pub validation: Option<ImageSet>,
    /// The test images.
    pub test: ImageSet,
    /// The classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The coarse classes, in the order of the coarse labels; empty if there are none.
    pub coarse_classes: Vec<String>,
    /// The channel means for normalisation, RGB, of pixels in [0, 1]. For an image folder they come
    /// from the options, otherwise from all training images, with their padding.
    pub mean: [f32; 3],
    /// The standard deviations for normalisation.
    pub std: [f32; 3],
    /// The origin of the images.
    pub source: Source,
}

impl Dataset {
    /// The same images in grey, with one channel, as Pillow's `convert("L")` computes it from RGB.
    pub fn grey(self) -> Self {
        Self {
            train: self.train.grey(),
            validation: self.validation.map(|images| images.grey()),
            test: self.test.grey(),
            ..self
        }
    }

    /// The same images with three channels. The channels of a grey image are equal.
    pub fn colour(self) -> Self {
        Self {
            train: self.train.colour(),
            validation: self.validation.map(|images| images.colour()),
            test: self.test.colour(),
            ..self
        }
    }
}

/// The origin of a data set, for the record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The requested data set.
    pub requested: DatasetKind,
    /// The kind of source.
    pub origin: Origin,
    /// The folder, `owner/name@revision` on the Hub, or the seed of the synthetic set.
    pub location: String,
    /// The source files.
    pub files: Vec<SourceFile>,
    /// Whether the decoded images came from the cache.
    pub from_cache: bool,
    /// The reason why `auto` fell back to the synthetic set, if it did.
    pub fallback: Option<String>,
    /// Unusual properties of the data.
    pub notes: Vec<String>,
    /// Whether a class map decided the labels.
    #[serde(default)]
    pub class_map: bool,
    /// The files that were left out because they cannot be decoded, relative to the folder.
    #[serde(default)]
    pub skipped: Vec<PathBuf>,
}

/// The kind of source of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Files in a folder.
    Folder,
    /// The Hugging Face Hub or its cache.
    Hub,
    /// Generated images.
    Synthetic,
}

impl TryFrom<&Dataset> for candle_datasets::vision::Dataset {
    type Error = candle_core::Error;

    /// Converts to Candle's data set: images `[N, channels, height, width]`, f32 in [0, 1], upright;
    /// labels `[N]`, u8 as in Candle's loaders.
    ///
    /// # Errors
    /// If an image cannot be read, a tensor cannot be made, or a label is too large for a u8.
    fn try_from(dataset: &Dataset) -> candle_core::Result<Self> {
        let (classes, labels) = (dataset.classes.len(), usize::from(u8::MAX) + 1);
        if classes > labels {
            candle_core::bail!("{classes} classes: labels in u8 have room for {labels}");
        }
        let images = |set: &ImageSet| {
            let mut bytes = Vec::new();
            let sizes = [set.channels(), set.height(), set.width()];
            let count = sizes
                .iter()
                .try_fold(set.len(), |product, size| product.checked_mul(*size));
            // A folder of large images may exceed the memory.
            if count.is_none_or(|count| bytes.try_reserve_exact(count).is_err()) {
                candle_core::bail!("{} images of {sizes:?} do not fit into memory", set.len());
            }
            for i in 0..set.len() {
                let image = set.image(i);
                let image = image.map_err(|error| candle_core::Error::msg(error.with_causes()))?;
                bytes.extend_from_slice(&image);
            }
            let shape = (set.len(), set.channels(), set.height(), set.width());
            Tensor::from_vec(bytes, shape, &Device::Cpu)?.to_dtype(DType::F32)? / 255.0
        };
        let labels = |set: &ImageSet| Tensor::new(set.labels(), &Device::Cpu)?.to_dtype(DType::U8);
        Ok(Self {
            train_images: images(&dataset.train)?,
            train_labels: labels(&dataset.train)?,
            test_images: images(&dataset.test)?,
            test_labels: labels(&dataset.test)?,
            labels: dataset.classes.len(),
        })
    }
}
