//! A repository on the Hub, its listing and its files in the cache.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hf_hub::{HFClientSync, HFError, HFRepositorySync};

use super::error::HubError;
use super::kind::{Datasets, Kind, Models};
use super::retry::RetryPolicy;
use super::settings::{Settings, is_on};

/// The branch of a repository if the caller names no revision.
const DEFAULT_REVISION: &str = "main";

/// A repository at a revision.
pub struct Repository<K: Kind> {
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) revision: String,
    pub(super) retry: RetryPolicy,
    pub(super) settings: Settings,
    pub(super) api: HFRepositorySync<K::Type>,
}

/// A repository of weights.
pub type ModelRepository = Repository<Models>;
/// A repository of a data set.
pub type DatasetRepository = Repository<Datasets>;

impl<K: Kind> Repository<K> {
    /// The repository `owner/name` at a branch, tag or commit, by default the branch `main`. Makes
    /// no request.
    ///
    /// # Errors
    /// If the variable `HF_ENDPOINT` is not an address.
    pub fn new(
        (owner, name): (&str, &str),
        revision: Option<&str>,
        retry: RetryPolicy,
    ) -> Result<Self, HubError> {
        let settings = Settings::read()?;
        let client = settings.client(&settings.cache, retry.retries);
        let client = client.and_then(HFClientSync::from_inner);
        let api = client.map(|client| K::repository(&client, owner, name));
        let api = api.map_err(|error| HubError::other(&format!("{owner}/{name}"), &error))?;
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.unwrap_or(DEFAULT_REVISION).to_owned(),
            retry,
            settings,
            api,
        })
    }

    /// The same repository with another retry policy.
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self {
            owner: self.owner.clone(),
            name: self.name.clone(),
            revision: self.revision.clone(),
            retry,
            settings: self.settings.clone(),
            api: self.api.clone(),
        }
    }

    /// `owner/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// `owner/name@revision`.
    pub fn location(&self) -> String {
        format!("{}@{}", self.id(), self.revision)
    }

    /// The folder of this revision in the cache, which may lack files. Makes no request.
    pub fn cached(&self) -> Option<PathBuf> {
        self.api
            .snapshot_download()
            .revision(self.revision.as_str())
            .local_files_only(true)
            .send()
            .ok()
    }

    /// The path of a file in the cache. Makes no request.
    pub fn cached_file(&self, file: &str) -> Option<PathBuf> {
        self.api
            .download_file()
            .filename(file)
            .revision(self.revision.as_str())
            .local_files_only(true)
            .send()
            .ok()
    }

    /// The names of the files that the Hub has at this revision.
    ///
    /// # Errors
    /// If the repository or the revision does not exist, the user may not read it, or the Hub
    /// does not answer.
    pub fn files(&self) -> Result<Vec<String>, HubError> {
        Ok(self.listing(self.retry)?.1)
    }

    /// The commit that the Hub has at this revision, if the Hub names it, and the names of its
    /// files.
    pub(super) fn listing(
        &self,
        retry: RetryPolicy,
    ) -> Result<(Option<String>, Vec<String>), HubError> {
        let (api, revision) = (self.api.clone(), self.revision.clone());
        let work = move |_| K::listing(&api, revision);
        let answer = self.watch(retry.timeout, &mut |_, _| {}, work)?;
        let (commit, siblings) = answer.map_err(|error| self.failure(&error))?;
        let names = siblings.into_iter().map(|file| file.rfilename);
        Ok((commit, names.collect()))
    }

    /// Runs `work` on a thread of its own and abandons that thread if it makes no progress for
    /// `timeout`: the client sets no time limit for name resolution or for a silent connection.
    ///
    /// `work` reports bytes received and expected to `progress`. Only more bytes than before are
    /// progress, because a stalled transfer may report its bytes again.
    pub(super) fn watch<R: Send + 'static>(
        &self,
        timeout: Duration,
        progress: &mut dyn FnMut(u64, u64),
        work: impl FnOnce(Sender<Message<R>>) -> R + Send + 'static,
    ) -> Result<R, HubError> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("hub".to_owned());
        let spawned = thread.spawn(move || {
            let result = work(sender.clone());
            // The receiver may have given up.
            let _ = sender.send(Message::Done(result));
        });
        spawned.map_err(|error| self.problem(error.to_string()))?;
        let mut last = Instant::now();
        let mut most = None;
        loop {
            match receiver.recv_timeout(timeout.saturating_sub(last.elapsed())) {
                Ok(Message::Bytes(received, expected)) => {
                    if most.is_none_or(|most| received > most) {
                        most = Some(received);
                        last = Instant::now();
                    }
                    progress(received, expected);
                }
                Ok(Message::Done(result)) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(HubError::Unreachable {
                        endpoint: self.settings.endpoint.clone(),
                        reason: format!("no answer within {} s", timeout.as_secs()),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.problem("the client gave up".to_owned()));
                }
            }
        }
    }

    /// Interprets a failed request.
    pub(super) fn failure(&self, error: &HFError) -> HubError {
        let Settings {
            endpoint, unsent, ..
        } = &self.settings;
        let unsent = unsent.as_deref();
        HubError::new(&self.id(), &self.revision, endpoint, unsent, error)
    }

    /// The listing is public, the files are not.
    pub(super) fn gated(&self) -> HubError {
        HubError::Gated {
            repo: self.id(),
            endpoint: self.settings.endpoint.clone(),
            unsent: self.settings.unsent.clone(),
        }
    }

    pub(super) fn problem(&self, problem: String) -> HubError {
        HubError::Other {
            repo: self.id(),
            problem,
        }
    }
}

/// A message of a watched thread.
pub(super) enum Message<R> {
    /// Bytes received, and bytes expected or 0.
    Bytes(u64, u64),
    /// The thread has ended.
    Done(R),
}

/// The commit of a file in the cache: the name of the folder above the file's own path.
pub fn commit(path: &Path, file: &str) -> Option<String> {
    let above = path.ancestors().nth(file.split('/').count())?;
    above.file_name()?.to_str().map(str::to_string)
}

/// Whether a revision is a commit, which never changes, and not a branch or tag.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether the variable `HF_HUB_OFFLINE` turns the network off, as it does for the Hub's other
/// clients.
pub fn offline() -> bool {
    std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| is_on(&value))
}
