//! Opening the data set that the options name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::Cache;
use super::check::CheckProgress;
use super::cifar::{self, Spec};
use super::dataset::{Dataset, Origin, Source};
use super::error::DataError;
use super::image_folder::CheckedSplits;
use super::options::{DataOptions, DatasetKind};
use super::{hub, image_folder, split, synthetic};
use crate::hub::HubError;

/// The environment variable with the folder of CIFAR-100.
pub const CIFAR100_DIR: &str = "CIFAR100_DIR";

/// How long to wait for the Hub if the synthetic set can take the place of the data.
const SHORT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long to wait for the Hub otherwise.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens the data set that `options` name.
///
/// `auto` looks for CIFAR-100 in `data_dir` or else `CIFAR100_DIR`, then in the Hub's cache, then on
/// the Hub. If CIFAR-100 is not available, it uses the synthetic set, logs a warning and sets
/// [`Source::fallback`]. A bad folder in `data_dir` or `CIFAR100_DIR` is always an error.
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
        DatasetKind::Cifar100 => open_cifar(options, &cifar::CIFAR100, LONG_TIMEOUT)?,
        DatasetKind::Cifar10 => open_cifar(options, &cifar::CIFAR10, LONG_TIMEOUT)?,
        DatasetKind::Auto => match open_cifar(options, &cifar::CIFAR100, SHORT_TIMEOUT) {
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

fn open_cifar(
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
        setting: if spec.name == cifar::CIFAR100.name {
            "data_dir or CIFAR100_DIR"
        } else {
            "data_dir"
        },
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

/// The folder in the options or in the environment.
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
            class_map: false,
            skipped: Vec::new(),
        },
    })
}
