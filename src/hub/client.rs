//! The calls of the Hub's client that depend on the kind of repository.
//!
//! This module is private, so that no type of the client is part of this crate's interface.

use hf_hub::repository::{RepoSibling, RepoType};
use hf_hub::{HFClientSync, HFRepositorySync, HFResult, RepoTypeDataset, RepoTypeModel};

/// Repositories of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Models;

/// Repositories of data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datasets;

/// A commit, if the Hub names it, and the files in it.
pub type Listing = (Option<String>, Vec<RepoSibling>);

/// A kind of repository as the client knows it.
pub trait Client: Send + Sync + 'static {
    /// The client's type of this kind.
    type Type: RepoType;

    /// The repository's handle.
    fn repository(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self::Type>;

    /// The commit of a revision and its files.
    fn listing(api: &HFRepositorySync<Self::Type>, revision: String) -> HFResult<Listing>;
}

impl Client for Models {
    type Type = RepoTypeModel;

    fn repository(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self::Type> {
        client.model(owner, name)
    }

    fn listing(api: &HFRepositorySync<Self::Type>, revision: String) -> HFResult<Listing> {
        let info = api.info().revision(revision).send()?;
        Ok((info.sha, info.siblings.unwrap_or_default()))
    }
}

impl Client for Datasets {
    type Type = RepoTypeDataset;

    fn repository(client: &HFClientSync, owner: &str, name: &str) -> HFRepositorySync<Self::Type> {
        client.dataset(owner, name)
    }

    fn listing(api: &HFRepositorySync<Self::Type>, revision: String) -> HFResult<Listing> {
        let info = api.info().revision(revision).send()?;
        Ok((info.sha, info.siblings.unwrap_or_default()))
    }
}
