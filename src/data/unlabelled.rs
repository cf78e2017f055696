//! Sets of image files without labels.

use std::path::PathBuf;

use super::decode::DecodeOptions;
use super::images::ImageSet;
use super::preprocess::Preprocess;

impl ImageSet {
    /// A set of image files without labels, each with label 0, for training and calibration that use
    /// no labels. `preprocess` brings the images to one size.
    pub fn unlabelled(files: Vec<PathBuf>, preprocess: Preprocess, decode: DecodeOptions) -> Self {
        let labels = vec![0; files.len()];
        Self::from_files(files, labels, preprocess, decode)
    }
}
