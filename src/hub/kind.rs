//! The kinds of repository.

use super::client::Client;
pub use super::client::{Datasets, Models};

/// What a repository holds: [`Models`] or [`Datasets`].
pub trait Kind: Client {}

impl Kind for Models {}
impl Kind for Datasets {}
