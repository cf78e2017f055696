//! Random crops of the padded image, and horizontal flips.

use super::augmentation::PadMode;
use crate::data::random::Draw;

/// One draw of the crop and the flip of an [`Augmentation`](super::Augmentation).
#[derive(Debug, Clone, Copy)]
pub(in crate::data) struct Placement {
    /// Pixels of padding on each side.
    padding: usize,
    /// The top-left corner of the crop in the padded image.
    top: usize,
    left: usize,
    mirrored: bool,
}

impl Placement {
    /// Draws the position of the crop, then the flip. Always three draws, so that one setting does not
    /// change the draws of another.
    pub(in crate::data) fn draw(padding: usize, hflip: f64, draw: &mut Draw) -> Self {
        let places = padding.saturating_mul(2).saturating_add(1);
        Self {
            padding,
            top: draw.below(places),
            left: draw.below(places),
            mirrored: draw.chance(hflip),
        }
    }

    /// The same crop, flipped or not.
    pub(in crate::data) fn mirrored(self, mirrored: bool) -> Self {
        Self { mirrored, ..self }
    }

    /// The crop of `image` `[channels, height, width]`, flipped if drawn so, of the same size.
    pub(in crate::data) fn apply(
        self,
        image: &[u8],
        (height, width): (usize, usize),
        mode: PadMode,
    ) -> Vec<u8> {
        let padding = self.padding;
        let mut cropped = vec![0; image.len()];
        if height * width == 0 {
            return cropped;
        }
        let sources = |start: usize, size: usize| -> Vec<Option<usize>> {
            (0..size)
                .map(|i| source(start.saturating_add(i), padding, size, mode))
                .collect()
        };
        let rows = sources(self.top, height);
        let mut columns = sources(self.left, width);
        if self.mirrored {
            columns.reverse();
        }
        let planes = image
            .chunks_exact(height * width)
            .zip(cropped.chunks_exact_mut(height * width));
        for (source, target) in planes {
            for (row, target) in rows.iter().zip(target.chunks_exact_mut(width)) {
                // Rows of black padding keep their zeros.
                let Some(row) = *row else { continue };
                let source = &source[row * width..(row + 1) * width];
                for (byte, column) in target.iter_mut().zip(&columns) {
                    *byte = column.map_or(0, |column| source[column]);
                }
            }
        }
        cropped
    }
}

/// The index of the pixel at position `at` of a padded line; `None` for black.
fn source(at: usize, padding: usize, size: usize, mode: PadMode) -> Option<usize> {
    if at >= padding && at - padding < size {
        return Some(at - padding);
    }
    match mode {
        PadMode::Zero => None,
        PadMode::Edge => Some(at.saturating_sub(padding).min(size - 1)),
        PadMode::Reflect => {
            // Reflections repeat with this period for padding of any width.
            let period = (2 * (size - 1)).max(1);
            let at = (at % period + period - padding % period) % period;
            Some(at.min(period - at).min(size - 1))
        }
    }
}
