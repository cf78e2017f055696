//! Which images of an epoch are mirrored.

use serde::{Deserialize, Serialize};

use super::random::Draw;

/// How training images are chosen to be mirrored left and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlipMode {
    /// Each with the same probability in each epoch.
    #[default]
    Random,
    /// Each in every other epoch, as airbench does (Jordan, 2024): half of them in the first epoch,
    /// the others in the second.
    Alternating,
}

/// Whether an image of the set is mirrored in an epoch if flips alternate.
pub(super) fn alternates(seed: u64, image: usize, epoch: u64) -> bool {
    let first = Draw::named(&[seed, image as u64], "alternating flip").bits();
    (first ^ epoch) & 1 == 1
}
