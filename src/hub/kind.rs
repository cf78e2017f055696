//! The kinds of repository.

/// Repositories of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Models;

/// Repositories of data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datasets;

/// What a repository holds: [`Models`] or [`Datasets`].
pub trait Kind: client::Client {}

impl Kind for Models {}
impl Kind for Datasets {}

/// The calls of the Hub's client that depend on the kind. Private, so that no type of that client
/// is part of this crate's interface.
pub(super) mod client {
    use hf_hub::repository::{RepoSibling, RepoType};
    use hf_hub::{HFClientSync, HFRepositorySync, HFResult, RepoTypeDataset, RepoTypeModel};

    /// A commit, if the Hub names it, and the files in it.
    pub type Listing = (Option<String>, Vec<RepoSibling>);

    /// A kind of repository as the client knows it.
    pub trait Client: Send + Sync + 'static {
        /// The client's type of this kind.
        type Type: RepoType;

        /// The repository's handle.
        fn repository(
            client: &HFClientSync,
            owner: &str,
            name: &str,
        ) -> HFRepositorySync<Self::Type>;

        /// The commit of a revision and its files.
        fn listing(api: &HFRepositorySync<Self::Type>, revision: String) -> HFResult<Listing>;
    }

    impl Client for super::Models {
        type Type = RepoTypeModel;

        fn repository(
            client: &HFClientSync,
            owner: &str,
            name: &str,
        ) -> HFRepositorySync<RepoTypeModel> {
            client.model(owner, name)
        }

        fn listing(api: &HFRepositorySync<RepoTypeModel>, revision: String) -> HFResult<Listing> {
            let info = api.info().revision(revision).send()?;
            Ok((info.sha, info.siblings.unwrap_or_default()))
        }
    }

    impl Client for super::Datasets {
        type Type = RepoTypeDataset;

        fn repository(
            client: &HFClientSync,
            owner: &str,
            name: &str,
        ) -> HFRepositorySync<RepoTypeDataset> {
            client.dataset(owner, name)
        }

        fn listing(api: &HFRepositorySync<RepoTypeDataset>, revision: String) -> HFResult<Listing> {
            let info = api.info().revision(revision).send()?;
            Ok((info.sha, info.siblings.unwrap_or_default()))
        }
    }
}
