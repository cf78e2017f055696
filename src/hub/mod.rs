//! Verified downloads from the Hugging Face Hub, into the cache that all of its clients share.
//!
//! The environment variables are the same as in the Hub's own clients: `HF_HOME`, `HF_HUB_CACHE`,
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`. An empty variable counts as unset.

mod client;
mod download;
mod error;
mod kind;
mod repository;
mod retry;
mod settings;

pub use error::HubError;
pub use kind::{Datasets, Kind, Models};
pub use repository::{DatasetRepository, ModelRepository, Repository, commit, offline};
pub use retry::RetryPolicy;
