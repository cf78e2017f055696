//! Opening the data set that the options name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::Cache;
use super::check::CheckProgress;
use super::dataset::{Dataset, Origin, Source};
use super::error::DataError;
use super::image_folder::CheckedSplits;
use super::options::{DataOptions, DatasetKind};
use super::published::{self, Spec};
use super::{hub, image_folder, split, synthetic};
use crate::hub::HubError;

/// How long to wait for the Hub if the synthetic set can take the place of the data.
const SHORT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long to wait for the Hub otherwise.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens the data set that `options` name.
///
/// The published data sets are looked for in `data_dir` or else in the folder that an environment
/// variable names (`CIFAR100_DIR`, `CIFAR10_DIR`, `MNIST_DIR`, `FASHION_MNIST_DIR`), then in the Hub's
/// cache, then on the Hub. `auto` is CIFAR-100. If CIFAR-100 is not available, it uses the synthetic set, logs a warning and sets
/// [`Source::fallback`]. A bad folder in
/// `data_dir` or in the variable is always an error.
///
/// # Errors
/// If the data set is missing or invalid, or an option is out of range or does not fit the data.
pub fn open(options: &DataOptions) -> Result<Dataset, DataError> {
    open_with(options, CheckedSplits::All, &|_, _| {})
}

/// Opens the data set as [`open`], and checks the image files of `splits` only, with `progress`.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    options: &DataOptions,
    splits: CheckedSplits,
    progress: CheckProgress,
) -> Result<Dataset, DataError> {
    options.check()?;
    let dataset = match options.dataset {
        DatasetKind::Synthetic => synthetic::dataset(options),
        DatasetKind::Folder => image_folder::open(options, splits, progress)?,
        DatasetKind::Cifar100 => published(options, &published::CIFAR100, LONG_TIMEOUT)?,
        DatasetKind::Cifar10 => published(options, &published::CIFAR10, LONG_TIMEOUT)?,
        DatasetKind::Mnist => published(options, &published::MNIST, LONG_TIMEOUT)?,
        DatasetKind::FashionMnist => published(options, &published::FASHION_MNIST, LONG_TIMEOUT)?,
        DatasetKind::Auto => match published(options, &published::CIFAR100, SHORT_TIMEOUT) {
            Err(DataError::Unavailable {
                setting, source, ..
            }) => {
                tracing::warn!(
                    "CIFAR-100 is not available ({source}): using the SYNTHETIC data set instead, \
                     whose accuracy is not comparable; set {setting} to the folder of CIFAR-100"
                );
                let mut dataset = synthetic::dataset(options);
                dataset.source.fallback = Some(source.to_string());
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

/// Opens a published data set from a folder, or from the Hub if no folder is named.
fn published(
    options: &DataOptions,
    spec: &'static Spec,
    timeout: Duration,
) -> Result<Dataset, DataError> {
    let cache = Cache::new(options.cache_dir.as_deref());
    if let Some(folder) = named_folder(options, spec) {
        let location = folder.display().to_string();
        return from_folder(options, spec, &folder, Origin::Folder, location, &cache);
    }
    let unavailable = |source: HubError| DataError::Unavailable {
        dataset: spec.title,
        setting: spec.setting,
        source,
    };
    let repository =
        hub::repository(spec.repo, options.revision.as_deref(), timeout).map_err(unavailable)?;
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
            // The cache lacks some or all of the files.
            Err(DataError::Missing { .. }) => {}
            other => return other,
        }
    }
    if options.offline || crate::hub::offline() {
        let what = repository.location();
        return Err(unavailable(HubError::Offline { what }));
    }
    let folder = hub::download(&repository).map_err(unavailable)?;
    read(&folder)
}

/// The folder in the options or in the environment, or else an earlier run's.
fn named_folder(options: &DataOptions, spec: &Spec) -> Option<PathBuf> {
    let of_variable = || {
        std::env::var_os(spec.variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let named = options.data_dir.clone().or_else(of_variable);
    named.or_else(|| options.earlier_dir.clone().filter(|folder| folder.exists()))
}

fn from_folder(
    options: &DataOptions,
    spec: &Spec,
    folder: &Path,
    origin: Origin,
    location: String,
    cache: &Cache,
) -> Result<Dataset, DataError> {
    let pad = options.padding();
    let loaded = published::load(folder, spec, pad, cache)?;
    let (mean, std) = spec.statistics(pad);
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Dataset {
        name: spec.name.to_owned(),
        train: loaded.train,
        validation: None,
        test: loaded.test,
        classes: owned(spec.classes),
        coarse_classes: owned(spec.coarse_classes),
        mean,
        std,
        source: Source {
            requested: options.dataset,
            origin,
            location,
            files: loaded.files,
            from_cache: loaded.from_cache,
            fallback: None,
            notes: loaded.notes,
            class_map: false,
            skipped: Vec::new(),
        },
    })
}
