//! What a checkpoint holds, and how to read one.

use std::collections::{BTreeMap, HashMap};

use candle_core::Tensor;

/// The content of a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    /// Tensors by key.
    pub tensors: HashMap<String, Tensor>,
    /// The key-value pairs of the header.
    pub metadata: BTreeMap<String, String>,
    /// What a reader may want to know, one line each: which of several tables of weights was chosen,
    /// and what in the file is not weights.
    pub notes: Vec<String>,
}

/// How to read a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The path of the table of weights in a PyTorch file, keys joined by dots: `ema`,
    /// `state.model`. `None` lets [`read_with`](super::read_with) choose one.
    pub state_dict_key: Option<String>,
}
