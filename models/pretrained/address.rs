//! Where weights are: on the Hub or in a file.

use std::fmt;
use std::path::PathBuf;

/// A file on the Hub: `hf://owner/name[@revision][/file]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: String,
    /// A branch, tag or commit. `None` is the branch `main`.
    pub revision: Option<String>,
    /// The file. `None` is the first of [`HubFile::USUAL`] that exists.
    pub file: Option<String>,
}

impl HubFile {
    /// The usual names of weights, the preferred one first.
    pub const USUAL: [&'static str; 2] = ["model.safetensors", "pytorch_model.bin"];

    /// Owner and name of the repository.
    pub fn owner_and_name(&self) -> (&str, &str) {
        self.repo.split_once('/').unwrap_or(("", &self.repo))
    }

    /// Parses `owner/name[@revision][/file]`. A slash in a revision is written `%2F`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let (place, file) = match rest.split_once('/') {
            Some((place, file)) => (place, Some(file)),
            None => (rest, None),
        };
        let (name, revision) = match place.split_once('@') {
            Some((name, revision)) => (name, Some(revision.replace("%2F", "/"))),
            None => (place, None),
        };
        // The characters that the Hub allows. A path cannot leave the cache's folder.
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part.chars().all(known) && !part.starts_with('.')
        };
        let inside = |path: &str| {
            let mut parts = path.split('/');
            parts.all(|part| !part.is_empty() && part != "." && part != "..")
        };
        let good = plain(owner)
            && plain(name)
            && file.is_none_or(inside)
            && revision.as_deref().is_none_or(inside);
        good.then(|| Self {
            repo: format!("{owner}/{name}"),
            revision,
            file: file.map(str::to_string),
        })
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.repo)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{}", revision.replace('/', "%2F"))?;
        }
        match &self.file {
            Some(file) => write!(f, "/{file}"),
            None => Ok(()),
        }
    }
}

/// The place of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On the Hub.
    Hub(HubFile),
    /// On this machine.
    File(PathBuf),
}
