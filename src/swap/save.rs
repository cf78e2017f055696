//! Saving the variants of a study as checkpoints.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::variant::Variant;
use crate::checkpoint;

/// The entry of a checkpoint's header that holds its [`SwapRecord`], in JSON.
pub const SWAP: &str = "swap";

/// Where and how to save the weights of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveOptions {
    /// The folder, which must exist.
    pub folder: PathBuf,
    /// Entries of each header besides the network's: the classes, the data set, its
    /// normalisation.
    pub metadata: BTreeMap<String, String>,
}

/// What was done to saved weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapRecord {
    /// The activation in training.
    pub from: String,
    /// The activation that replaces it.
    pub to: String,
    /// The stage of the swap, as the report names it.
    pub stage: String,
    /// Patterns of the layers with the new activation; all layers if empty.
    pub layers: Vec<String>,
    /// The setting of the study: weights, images, options, command.
    pub setting: BTreeMap<String, String>,
}

impl SaveOptions {
    /// Writes the weights of `variant` and returns the path.
    pub(super) fn save(&self, record: &SwapRecord, variant: &Variant) -> Result<String> {
        let mut metadata = self.metadata.clone();
        metadata.extend(variant.metadata.clone());
        let text = serde_json::to_string(record).map_err(Error::wrap)?;
        metadata.insert(SWAP.to_string(), text);
        // Parameters of an activation are separated by characters that some file systems refuse.
        let activation = record.to.replace([':', ','], "_");
        let path = self
            .folder
            .join(format!("{activation}-{}.safetensors", record.stage));
        checkpoint::write(&path, &variant.store.tensors(), &metadata).map_err(Error::wrap)?;
        Ok(path.display().to_string())
    }
}
