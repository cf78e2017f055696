//! A data set and the record of its origin.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::cache::SourceFile;
use super::images::ImageSet;
use super::options::DatasetKind;

/// A data set, in memory or in files.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `cifar100`, `cifar10`, `synthetic`, or `folder:` with the folder's name; a [`DatasetKind`] reads
    /// it.
    pub name: String,
    /// What is learnt from.
    pub train: ImageSet,
    /// What was held back from the training images, if asked for.
    pub validation: Option<ImageSet>,
    /// What is measured on.
    pub test: ImageSet,
    /// The classes, in the order of their labels.
    pub classes: Vec<String>,
    /// The coarse classes, in the order of theirs; empty where there are none.
    pub coarse_classes: Vec<String>,
    /// The channel means to normalise with, RGB, of pixels in [0, 1]: those of all training images,
    /// or for a folder what the options say.
    pub mean: [f32; 3],
    /// The standard deviations.
    pub std: [f32; 3],
    /// What was read, and from where.
    pub source: Source,
}

impl Dataset {
    /// The same images in grey, with one channel, as Pillow's `convert("L")` makes it of RGB.
    pub fn grey(self) -> Self {
        Self {
            train: self.train.grey(),
            validation: self.validation.map(|images| images.grey()),
            test: self.test.grey(),
            ..self
        }
    }
}

/// What a data set was read from: for the record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What was asked for.
    pub requested: DatasetKind,
    /// What it was read from.
    pub origin: Origin,
    /// The folder, `owner/name@revision` on the Hub, or the synthetic set's seed.
    pub location: String,
    /// The files.
    pub files: Vec<SourceFile>,
    /// Whether the decoded images came from the cache.
    pub from_cache: bool,
    /// Why `auto` fell back to the synthetic set, if it did.
    pub fallback: Option<String>,
    /// What is unusual about the data.
    pub notes: Vec<String>,
}

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Files in a folder.
    Folder,
    /// The Hugging Face Hub or its cache.
    Hub,
    /// Generated.
    Synthetic,
}

impl TryFrom<&Dataset> for candle_datasets::vision::Dataset {
    type Error = candle_core::Error;

    /// Candle's form of the data set: images `[N, channels, height, width]`, f32 in [0, 1], upright;
    /// labels `[N]`, u8 as in its own loaders.
    ///
    /// # Errors
    /// If a tensor cannot be made.
    fn try_from(dataset: &Dataset) -> candle_core::Result<Self> {
        let images = |set: &ImageSet| {
            let mut bytes =
                Vec::with_capacity(set.len() * set.channels() * set.height() * set.width());
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
