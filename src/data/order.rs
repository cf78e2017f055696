//! The order of the images in an epoch.

use super::random::Draw;

/// The images of an epoch are rounded down to a multiple of this if each occurs several times, as in
/// timm.
const ROUND: usize = 256;

/// How the images of a set are ordered in each epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Images in the set.
    pub images: usize,
    /// Whether the order is random. Otherwise it is the set's own order.
    pub shuffle: bool,
    /// How often an image occurs in a row; 0 counts as 1.
    pub repeats: usize,
}

impl Order {
    /// The number of images in an epoch, with repetitions.
    pub(super) fn len(&self) -> usize {
        if self.repeats > 1 && self.images >= ROUND {
            self.images / ROUND * ROUND
        } else {
            self.images
        }
    }

    /// The positions of the images of an epoch in the set.
    pub(super) fn of_epoch(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let once = if self.shuffle {
            Draw::new(&[seed, epoch]).permutation(self.images)
        } else {
            (0..self.images).collect()
        };
        if self.repeats <= 1 {
            return once;
        }
        let repeated = once
            .into_iter()
            .flat_map(|image| std::iter::repeat_n(image, self.repeats));
        repeated.take(self.len()).collect()
    }
}
