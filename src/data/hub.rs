//! Data sets from the Hugging Face Hub.

use std::path::PathBuf;
use std::time::Duration;

use crate::hub::{DatasetRepository, HubError, Patience};

/// The repository of a data set; `silence` bounds the wait for its listing. Few attempts: a
/// machine without a network should learn it soon.
pub(super) fn repository(
    repo: (&str, &str),
    revision: Option<&str>,
    silence: Duration,
) -> Result<DatasetRepository, HubError> {
    let patience = Patience {
        silence,
        retries: 1,
    };
    DatasetRepository::new(repo, revision, patience)
}

/// Downloads the parquet files that the cache lacks and gives their folder in it.
pub(super) fn download(repository: &DatasetRepository) -> Result<PathBuf, HubError> {
    let mut files = repository.files()?;
    let repository = &repository.with_patience(Patience::default());
    files.retain(|name| name.ends_with(".parquet"));
    let missing = |problem: &str| HubError::Other {
        repo: repository.id(),
        problem: problem.to_owned(),
    };
    if files.is_empty() {
        return Err(missing("the repository has no parquet files"));
    }
    for (index, file) in files.iter().enumerate() {
        if repository.cached_file(file).is_some() {
            continue;
        }
        tracing::info!(
            "downloading {file} of {} ({} of {})",
            repository.id(),
            index + 1,
            files.len()
        );
        repository.download(file, &mut |_, _| {})?;
    }
    repository
        .cached()
        .ok_or_else(|| missing("the download is not in the cache"))
}
