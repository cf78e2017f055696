//! What a description says about weights.

use std::collections::BTreeMap;

use crate::weights::known_classes::Known;
use crate::weights::note::Note;

/// The description of the weights in their folder or repository.
pub(super) const FILE: &str = "config.json";

/// Header entries, and notes about what is not supported.
#[derive(Default)]
pub(super) struct Described {
    pub entries: BTreeMap<String, String>,
    pub notes: Vec<Note>,
    /// The data set whose classes the weights have.
    pub known_classes: Option<Known>,
}

impl Described {
    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.entries.insert(key.to_string(), value.to_string());
    }
}
