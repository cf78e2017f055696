//! Data sets from the Hugging Face Hub.

use std::path::PathBuf;
use std::time::Duration;

use crate::hub::{DatasetRepository, HubError, RetryPolicy};

/// The repository of a data set; `timeout` is for its listing. One retry only, because without a
/// network another source may have the data.
pub(super) fn repository(
    repo: (&str, &str),
    revision: Option<&str>,
    timeout: Duration,
) -> Result<DatasetRepository, HubError> {
    let retry = RetryPolicy {
        timeout,
        retries: 1,
    };
    DatasetRepository::new(repo, revision, retry)
}

/// Downloads the parquet files that the cache lacks and returns their folder in the cache.
pub(super) fn download(repository: &DatasetRepository) -> Result<PathBuf, HubError> {
    let mut files = repository.files()?;
    let repository = &repository.with_retry(RetryPolicy::default());
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
