//! All that the report of one run shows.

use super::provenance::HashedFile;
use super::stored_run::StoredRun;
use crate::data::Dataset;
use crate::eval::Prediction;

/// A run with the predictions of its last weights for the test images.
pub struct RunReport<'a> {
    /// The run.
    pub run: &'a StoredRun,
    /// Its data set.
    pub dataset: &'a Dataset,
    /// The predictions for the test images, in the order of the set.
    pub predictions: &'a [Prediction],
    /// The files of the data set.
    pub data_files: &'a [HashedFile],
    /// The weights of the run.
    pub weight_files: &'a [HashedFile],
}

impl RunReport<'_> {
    /// The name of a class.
    pub(super) fn class(&self, class: u32) -> String {
        match self.dataset.classes.get(class as usize) {
            Some(name) => name.clone(),
            // A network may have more outputs than the data set has classes.
            None => format!("output {class}"),
        }
    }
}
