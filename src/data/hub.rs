//! Data sets from the Hugging Face Hub, through the cache that all its clients share.
//!
//! The environment is the Hub's: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
//! `HF_HUB_OFFLINE`.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync, RepoTypeDataset};

use super::DataError;

/// The branch that is meant when none is named.
const DEFAULT_REVISION: &str = "main";

/// A data set's repository.
pub(super) struct Repository {
    /// `owner/name`.
    id: String,
    revision: String,
    api: HFRepositorySync<RepoTypeDataset>,
}

impl Repository {
    pub(super) fn new(
        (owner, name): (&str, &str),
        revision: Option<&str>,
    ) -> Result<Self, DataError> {
        let id = format!("{owner}/{name}");
        // Few attempts: a machine without a network should learn it soon.
        let client = HFClient::builder()
            .retry_max_attempts(1)
            .build()
            .and_then(HFClientSync::from_inner)
            .map_err(|error| failure(&id, &error))?;
        Ok(Self {
            api: client.dataset(owner, name),
            id,
            revision: revision.unwrap_or(DEFAULT_REVISION).to_owned(),
        })
    }

    /// `owner/name@revision`.
    pub(super) fn location(&self) -> String {
        format!("{}@{}", self.id, self.revision)
    }

    /// The folder of this revision in the cache, without any network; it may lack files.
    pub(super) fn cached(&self) -> Option<PathBuf> {
        self.api
            .snapshot_download()
            .revision(self.revision.as_str())
            .local_files_only(true)
            .send()
            .ok()
    }

    /// Downloads the parquet files that the cache lacks and gives their folder in it.
    ///
    /// `patience` bounds the wait for the first answer, not the download.
    pub(super) fn download(&self, patience: Duration) -> Result<PathBuf, DataError> {
        let info = self.ask(patience)?;
        let files: Vec<String> = info
            .siblings
            .unwrap_or_default()
            .into_iter()
            .map(|file| file.rfilename)
            .filter(|name| name.ends_with(".parquet"))
            .collect();
        if files.is_empty() {
            return Err(self.error("the repository has no parquet files"));
        }
        for (index, file) in files.iter().enumerate() {
            tracing::info!(
                "downloading {file} of {} ({} of {})",
                self.id,
                index + 1,
                files.len()
            );
            self.api
                .download_file()
                .filename(file.as_str())
                .revision(self.revision.as_str())
                .send()
                .map_err(|error| failure(&self.id, &error))?;
        }
        self.cached()
            .ok_or_else(|| self.error("the download is not in the cache"))
    }

    fn ask(&self, patience: Duration) -> Result<hf_hub::repository::DatasetInfo, DataError> {
        let (sender, receiver) = sync_channel(1);
        let (api, revision) = (self.api.clone(), self.revision.clone());
        // On a thread of its own, which is left behind when the answer takes too long: name
        // resolution and connecting have no time limit that could be set from here.
        std::thread::Builder::new()
            .name("hub-info".to_owned())
            .spawn(move || {
                // The receiver may have given up.
                let _ = sender.send(api.info().revision(revision).send());
            })
            .map_err(|error| self.error(&error.to_string()))?;
        match receiver.recv_timeout(patience) {
            Ok(answer) => answer.map_err(|error| failure(&self.id, &error)),
            Err(_) => Err(self.error(&format!("no answer within {} s", patience.as_secs()))),
        }
    }

    fn error(&self, problem: &str) -> DataError {
        DataError::Hub {
            repo: self.id.clone(),
            problem: problem.to_owned(),
        }
    }
}

/// Whether the environment forbids the network, as the Hub's other clients understand it.
pub(super) fn offline() -> bool {
    std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "1" | "true" | "yes" | "on"
        )
    })
}

/// One line, with the innermost cause: the outer ones only say that a request failed.
fn failure(id: &str, error: &HFError) -> DataError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let (outer, inner) = (error.to_string(), cause.to_string());
    let problem = if outer.contains(&inner) {
        outer
    } else {
        format!("{outer}: {inner}")
    };
    DataError::Hub {
        repo: id.to_owned(),
        problem: problem.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}
