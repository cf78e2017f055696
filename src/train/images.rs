//! A summary of a run's images. A resumed run compares it to notice a change.

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use crate::data::{ImageSet, Loader};

/// The images that determine the steps of a run and its best epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunImages {
    /// Training images.
    train: usize,
    /// CRC-32 of the labels of the training images in the order of the set.
    train_labels: u32,
    /// Images that evaluate each epoch.
    evaluation: usize,
    /// CRC-32 of their labels.
    evaluation_labels: u32,
}

impl RunImages {
    pub(super) fn of(train: &Loader, evaluation: &Loader) -> Self {
        Self {
            train: train.images().len(),
            train_labels: labels(train.images()),
            evaluation: evaluation.images().len(),
            evaluation_labels: labels(evaluation.images()),
        }
    }

    /// Refuses images that differ from `self`, the images that the run started with.
    pub(super) fn check(&self, now: &Self) -> Result<(), TrainError> {
        let training = (self.train, self.train_labels, "training");
        let evaluation = (self.evaluation, self.evaluation_labels, "evaluation");
        let pairs = [
            (training, (now.train, now.train_labels)),
            (evaluation, (now.evaluation, now.evaluation_labels)),
        ];
        for ((images, labels, what), (images_now, labels_now)) in pairs {
            if images != images_now {
                return Err(TrainError::OtherImages {
                    then: format!("{images} {what} images"),
                    now: images_now.to_string(),
                });
            }
            if labels != labels_now {
                return Err(TrainError::OtherImages {
                    then: format!("{images} {what} images"),
                    now: format!("{images_now} with other labels"),
                });
            }
        }
        Ok(())
    }
}

fn labels(images: &ImageSet) -> u32 {
    let mut crc = flate2::Crc::new();
    for label in images.labels() {
        crc.update(&label.to_le_bytes());
    }
    crc.sum()
}
