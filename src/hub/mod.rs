//! Repositories on the Hugging Face Hub, through the cache that all its clients share.
//!
//! The environment is the Hub's: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
//! `HF_HUB_OFFLINE`.

mod download;
mod error;

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

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

/// What a repository holds: [`RepoTypeModel`] or [`RepoTypeDataset`].
pub trait Kind: RepoType + Default {
    /// The repository's handle.
    fn api(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self>;

    /// The files of a revision, as the Hub lists them.
    ///
    /// # Errors
    /// What the client reports.
    fn siblings(api: &HFRepositorySync<Self>, revision: String) -> HFResult<Vec<RepoSibling>>;
}

impl Kind for RepoTypeModel {
    fn api(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self> {
        client.model(owner, name)
    }

    fn siblings(api: &HFRepositorySync<Self>, revision: String) -> HFResult<Vec<RepoSibling>> {
        let info = api.info().revision(revision).send()?;
        Ok(info.siblings.unwrap_or_default())
    }
}

impl Kind for RepoTypeDataset {
    fn api(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self> {
        client.dataset(owner, name)
    }

    fn siblings(api: &HFRepositorySync<Self>, revision: String) -> HFResult<Vec<RepoSibling>> {
        let info = api.info().revision(revision).send()?;
        Ok(info.siblings.unwrap_or_default())
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
        let (api, revision) = (self.api.clone(), self.revision.clone());
        let answer = self.watch(&mut |_, _| {}, move |_| T::siblings(&api, revision))?;
        let siblings = answer.map_err(|error| self.failure(&error))?;
        Ok(siblings.into_iter().map(|file| file.rfilename).collect())
    }

    /// Runs `work` on a thread of its own, which is left behind when nothing is heard of it for
    /// too long: neither name resolution nor a silent connection has a time limit that could be
    /// set from here. `work` reports bytes received and expected to `progress`.
    fn watch<R: Send + 'static>(
        &self,
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
        loop {
            match receiver.recv_timeout(self.patience.silence) {
                Ok(Message::Bytes(received, expected)) => progress(received, expected),
                Ok(Message::Done(result)) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = self.patience.silence.as_secs();
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

/// Whether the environment forbids the network, as the Hub's other clients understand it.
pub fn offline() -> bool {
    std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "1" | "true" | "yes" | "on"
        )
    })
}
