//! Data sets and the loader that makes batches of them.
//!
//! [`open`] gives CIFAR-100 or CIFAR-10 from a folder, an archive or the Hugging Face Hub, a tree of
//! image files, or a procedural set that needs neither files nor a network. A [`Loader`] yields
//! normalised, augmented batches from a thread of its own. [`Preprocess`] brings pictures of any
//! size to a network's, as timm does.

mod augment;
mod cache;
mod cifar;
mod error;
mod hub;
mod image_folder;
mod images;
mod loader;
mod options;
mod picture;
mod preprocess;
mod random;
mod resample;
mod resized_crop;
mod split;
pub mod synthetic;

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

pub(crate) use augment::channel_moments;
pub use augment::{Augmentation, PadMode};
pub use cache::SourceFile;
pub use cifar::names;
pub use error::DataError;
pub use images::ImageSet;
pub use loader::{Batch, Epoch, Loader, LoaderConfig};
pub use options::{DataOptions, DatasetKind};
pub use picture::Picture;
pub use preprocess::{IMAGENET_MEAN, IMAGENET_STD, Preprocess};
pub use resample::Interpolation;
pub use resized_crop::ResizedCrop;

use cache::Cache;
use cifar::Spec;

/// The environment variable that names CIFAR-100's folder.
pub const CIFAR100_DIR: &str = "CIFAR100_DIR";

/// How long the Hub may take to answer where another source is at hand.
const BRIEF: Duration = Duration::from_secs(4);
/// How long it may take where none is.
const PATIENT: Duration = Duration::from_secs(20);

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

/// Opens the data set that `options` ask for.
///
/// `auto` takes CIFAR-100 from `data_dir` or else `CIFAR100_DIR`, then from the Hub's cache, then
/// from the Hub, and falls back to the synthetic set with a warning and a note in
/// [`Source::fallback`]. A folder that is named is never passed over: if it is bad, that is an
/// error.
///
/// # Errors
/// If the data set is not there or is not what it should be, or an option does not suit it.
pub fn open(options: &DataOptions) -> Result<Dataset, DataError> {
    options.check()?;
    let dataset = match options.dataset {
        DatasetKind::Synthetic => synthetic::dataset(options),
        DatasetKind::Folder => image_folder::open(options)?,
        DatasetKind::Cifar100 => open_cifar(options, &cifar::CIFAR100, PATIENT)?,
        DatasetKind::Cifar10 => open_cifar(options, &cifar::CIFAR10, PATIENT)?,
        DatasetKind::Auto => match open_cifar(options, &cifar::CIFAR100, BRIEF) {
            Err(DataError::Unavailable { reason, hint, .. }) => {
                tracing::warn!(
                    "CIFAR-100 is not available ({reason}): using the SYNTHETIC data set instead, \
                     whose accuracy is not comparable; give CIFAR-100's folder with {hint}"
                );
                let mut dataset = synthetic::dataset(options);
                dataset.source.fallback = Some(reason);
                dataset
            }
            other => other?,
        },
    };
    for note in &dataset.source.notes {
        tracing::warn!("{note}");
    }
    split::apply(dataset, options)
}

fn open_cifar(
    options: &DataOptions,
    spec: &'static Spec,
    patience: Duration,
) -> Result<Dataset, DataError> {
    let cache = Cache::new(options.cache_dir.as_deref());
    if let Some(folder) = named_folder(options, spec) {
        let location = folder.display().to_string();
        return from_folder(options, spec, &folder, Origin::Folder, location, &cache);
    }
    let unavailable = |reason: String| DataError::Unavailable {
        dataset: spec.title,
        reason,
        hint: if spec.name == cifar::CIFAR100.name {
            "--data-dir or CIFAR100_DIR"
        } else {
            "--data-dir"
        },
    };
    let repository = hub::repository(spec.repo, options.revision.as_deref(), patience)
        .map_err(|error| unavailable(error.to_string()))?;
    let read = |folder: &Path| {
        from_folder(
            options,
            spec,
            folder,
            Origin::Hub,
            repository.location(),
            &cache,
        )
    };
    if let Some(folder) = repository.cached() {
        match read(&folder) {
            // Some files of the repository only, or none that are needed.
            Err(DataError::Missing { .. }) => {}
            other => return other,
        }
    }
    if options.offline || crate::hub::offline() {
        return Err(unavailable(format!(
            "{} is not in the Hub's cache, and the network is off",
            repository.location()
        )));
    }
    let folder = hub::download(&repository).map_err(|error| unavailable(error.to_string()))?;
    read(&folder)
}

/// The folder that the options or the environment name.
fn named_folder(options: &DataOptions, spec: &Spec) -> Option<PathBuf> {
    options.data_dir.clone().or_else(|| {
        std::env::var_os(CIFAR100_DIR)
            .filter(|value| spec.name == cifar::CIFAR100.name && !value.is_empty())
            .map(PathBuf::from)
    })
}

fn from_folder(
    options: &DataOptions,
    spec: &Spec,
    folder: &Path,
    origin: Origin,
    location: String,
    cache: &Cache,
) -> Result<Dataset, DataError> {
    let loaded = cifar::load(folder, spec, cache)?;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Dataset {
        name: spec.name.to_owned(),
        train: loaded.train,
        validation: None,
        test: loaded.test,
        classes: owned(spec.classes),
        coarse_classes: owned(spec.coarse_classes),
        mean: spec.mean,
        std: spec.std,
        source: Source {
            requested: options.dataset,
            origin,
            location,
            files: loaded.files,
            from_cache: loaded.from_cache,
            fallback: None,
            notes: loaded.notes,
        },
    })
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
                bytes.extend_from_slice(&set.image(i).map_err(candle_core::Error::wrap)?);
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
