//! Repositories on the Hugging Face Hub, through the cache that all its clients share.
//!
//! The environment is the Hub's: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
//! `HF_HUB_OFFLINE`.

mod download;
mod error;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hf_hub::repository::{RepoSibling, RepoType};
use hf_hub::{
    HFClient, HFClientSync, HFError, HFRepositorySync, HFResult, RepoTypeDataset, RepoTypeModel,
};

pub use error::HubError;

/// The branch that is meant when none is named.
const DEFAULT_REVISION: &str = "main";

/// How much is borne before a request is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long nothing at all may come.
    pub silence: Duration,
    /// How often a request is repeated that failed for a reason that may pass.
    pub retries: usize,
}

impl Default for Patience {
    /// A minute of silence and four more attempts.
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(60),
            retries: 4,
        }
    }
}

/// A commit, if the Hub says it, and the files in it.
pub type Listed = (Option<String>, Vec<RepoSibling>);

/// What a repository holds: [`RepoTypeModel`] or [`RepoTypeDataset`].
pub trait Kind: RepoType + Default {
    /// The repository's handle.
    fn api(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self>;

    /// The commit of a revision and its files, as the Hub lists them.
    ///
    /// # Errors
    /// What the client reports.
    fn listing(api: &HFRepositorySync<Self>, revision: String) -> HFResult<Listed>;
}

impl Kind for RepoTypeModel {
    fn api(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self> {
        client.model(owner, name)
    }

    fn listing(api: &HFRepositorySync<Self>, revision: String) -> HFResult<Listed> {
        let info = api.info().revision(revision).send()?;
        Ok((info.sha, info.siblings.unwrap_or_default()))
    }
}

impl Kind for RepoTypeDataset {
    fn api(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self> {
        client.dataset(owner, name)
    }

    fn listing(api: &HFRepositorySync<Self>, revision: String) -> HFResult<Listed> {
        let info = api.info().revision(revision).send()?;
        Ok((info.sha, info.siblings.unwrap_or_default()))
    }
}

/// A repository at a revision.
pub struct Repository<T: Kind> {
    owner: String,
    name: String,
    revision: String,
    patience: Patience,
    client: HFClient,
    api: HFRepositorySync<T>,
}

/// A repository of weights.
pub type ModelRepository = Repository<RepoTypeModel>;
/// A repository of a data set.
pub type DatasetRepository = Repository<RepoTypeDataset>;

impl<T: Kind> Repository<T> {
    /// The repository `owner/name` at a branch, tag or commit, by default the branch `main`.
    /// Asks nothing yet.
    ///
    /// # Errors
    /// If the environment's `HF_ENDPOINT` is no address.
    pub fn new(
        (owner, name): (&str, &str),
        revision: Option<&str>,
        patience: Patience,
    ) -> Result<Self, HubError> {
        let client = HFClient::builder().retry_max_attempts(patience.retries);
        let opened = client.build().and_then(|client| {
            let blocking = HFClientSync::from_inner(client.clone())?;
            Ok((client, T::api(&blocking, owner, name)))
        });
        let (client, api) =
            opened.map_err(|error| HubError::other(&format!("{owner}/{name}"), &error))?;
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.unwrap_or(DEFAULT_REVISION).to_owned(),
            patience,
            client,
            api,
        })
    }

    /// The same with another patience.
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self {
            owner: self.owner.clone(),
            name: self.name.clone(),
            revision: self.revision.clone(),
            patience,
            client: self.client.clone(),
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

    /// The folder of this revision in the cache, without any network; it may lack files.
    pub fn cached(&self) -> Option<PathBuf> {
        self.api
            .snapshot_download()
            .revision(self.revision.as_str())
            .local_files_only(true)
            .send()
            .ok()
    }

    /// A file in the cache, without any network.
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
    /// If the repository or the revision does not exist, is not for this user, or the Hub cannot
    /// be asked.
    pub fn files(&self) -> Result<Vec<String>, HubError> {
        Ok(self.listing(self.patience)?.1)
    }

    /// The commit that the Hub has at this revision, if it says so, and the names of its files.
    fn listing(&self, patience: Patience) -> Result<(Option<String>, Vec<String>), HubError> {
        let (api, revision) = (self.api.clone(), self.revision.clone());
        let work = move |_| T::listing(&api, revision);
        let answer = self.watch(patience.silence, &mut |_, _| {}, work)?;
        let (commit, siblings) = answer.map_err(|error| self.failure(&error))?;
        let names = siblings.into_iter().map(|file| file.rfilename);
        Ok((commit, names.collect()))
    }

    /// Runs `work` on a thread of its own, which is left behind when it makes no progress for the
    /// time of `silence`: neither name resolution nor a silent connection has a time limit that
    /// could be set from here. `work` reports bytes received and expected to `progress`; only more
    /// bytes than before are progress, since a transfer that stands still may report that as well.
    fn watch<R: Send + 'static>(
        &self,
        silence: Duration,
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
            match receiver.recv_timeout(silence.saturating_sub(last.elapsed())) {
                Ok(Message::Bytes(received, expected)) => {
                    if most.is_none_or(|most| received > most) {
                        most = Some(received);
                        last = Instant::now();
                    }
                    progress(received, expected);
                }
                Ok(Message::Done(result)) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = silence.as_secs();
                    return Err(self.problem(format!("no answer within {seconds} s")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.problem("the client gave up".to_owned()));
                }
            }
        }
    }

    /// What a failed request means.
    fn failure(&self, error: &HFError) -> HubError {
        HubError::new(&self.id(), &self.revision, self.client.endpoint(), error)
    }

    /// Its files are not for everybody who may see it.
    fn gated(&self) -> HubError {
        HubError::Gated {
            repo: self.id(),
            endpoint: self.client.endpoint().to_owned(),
        }
    }

    fn problem(&self, problem: String) -> HubError {
        HubError::Other {
            repo: self.id(),
            problem,
        }
    }
}

/// What a watched thread says.
enum Message<R> {
    /// Bytes received, and bytes expected or 0.
    Bytes(u64, u64),
    /// It has ended.
    Done(R),
}

/// The commit that a file in the cache is of: the folder that its name begins below.
pub fn commit(path: &Path, file: &str) -> Option<String> {
    let above = path.ancestors().nth(file.split('/').count())?;
    above.file_name()?.to_str().map(str::to_string)
}

/// Whether a revision is a commit, which never changes, and no branch or tag.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether the environment forbids the network, as the Hub's other clients understand it.
pub fn offline() -> bool {
    std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "1" | "true" | "yes" | "on"
        )
    })
}
