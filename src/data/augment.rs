//! Augmentation of training images and their conversion to normalised floats, in one pass.

use serde::{Deserialize, Serialize};

use super::random::Draw;
use super::resized_crop::ResizedCrop;

/// What lies outside an image that is padded before a random crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadMode {
    /// The image mirrored at its border, the border itself not repeated.
    #[default]
    Reflect,
    /// Black.
    Zero,
    /// The nearest pixel of the border.
    Edge,
}

/// Random changes to training images, drawn anew for every image and epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Pixels of padding on each side before a crop of the original size at a random place;
    /// 0 crops nothing.
    pub crop_padding: usize,
    /// What the padding holds.
    pub pad_mode: PadMode,
    /// The probability of mirroring left and right, in [0, 1].
    pub hflip: f64,
    /// In place of the padded crop, a random part of each picture scaled to the set's size: for sets
    /// of files, which have pictures of any size. Other sets have no use for it.
    pub resized_crop: Option<ResizedCrop>,
}

impl Augmentation {
    /// Images as they are.
    pub fn none() -> Self {
        Self {
            crop_padding: 0,
            pad_mode: PadMode::Reflect,
            hflip: 0.0,
            resized_crop: None,
        }
    }
}

impl Default for Augmentation {
    /// What CIFAR is trained with, 4 pixels of padding, and what ImageNet is, a part of at least 8 %;
    /// mirrored half of the time.
    fn default() -> Self {
        Self {
            crop_padding: 4,
            pad_mode: PadMode::Reflect,
            hflip: 0.5,
            resized_crop: Some(ResizedCrop::default()),
        }
    }
}

/// One draw of an [`Augmentation`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    /// The crop's corner in the padded image.
    top: usize,
    left: usize,
    mirrored: bool,
}

impl Placement {
    /// Draws the crop's place, then the mirroring: three draws for any settings, so that one
    /// setting does not shift the draws of another.
    pub(crate) fn draw(augmentation: &Augmentation, draw: &mut Draw) -> Self {
        let places = augmentation
            .crop_padding
            .saturating_mul(2)
            .saturating_add(1);
        Self {
            top: draw.below(places),
            left: draw.below(places),
            mirrored: draw.chance(augmentation.hflip),
        }
    }
}

/// Mean and standard deviation of each of so many channels of normalised images. A single channel,
/// which is grey, has the averages of the colours'.
pub(crate) fn channel_moments(mean: [f32; 3], std: [f32; 3], channels: usize) -> Vec<(f32, f32)> {
    let average = |values: [f32; 3]| values.iter().sum::<f32>() / 3.0;
    match channels {
        1 => vec![(average(mean), average(std))],
        _ => mean.into_iter().zip(std).collect(),
    }
}

/// Turns bytes into normalised floats through a table for each channel.
#[derive(Debug, Clone)]
pub(crate) struct Normaliser {
    /// A table for each channel.
    tables: Vec<[f32; 256]>,
}

impl Normaliser {
    /// Byte `b` of channel `c` becomes `(b / 255 - mean[c]) / std[c]`, with the
    /// [`channel_moments`].
    pub(crate) fn new(mean: [f32; 3], std: [f32; 3], channels: usize) -> Self {
        let table = |(mean, std): (f32, f32)| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
        };
        let moments = channel_moments(mean, std, channels);
        Self {
            tables: moments.into_iter().map(table).collect(),
        }
    }

    /// Writes the normalised image; both are `[channels, height, width]`.
    pub(crate) fn plain(&self, image: &[u8], out: &mut [f32]) {
        let plane = image.len() / self.tables.len();
        if plane == 0 {
            return;
        }
        let planes = image.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((source, target), table) in planes.zip(self.tables.iter()) {
            for (value, &byte) in target.iter_mut().zip(source) {
                *value = table[usize::from(byte)];
            }
        }
    }

    /// Writes the image cropped and mirrored as `placement` says, normalised.
    pub(crate) fn augmented(
        &self,
        image: &[u8],
        (height, width): (usize, usize),
        augmentation: &Augmentation,
        placement: Placement,
        out: &mut [f32],
    ) {
        let (padding, mode) = (augmentation.crop_padding, augmentation.pad_mode);
        if height * width == 0 {
            return;
        }
        let sources = |start: usize, size: usize| -> Vec<Option<usize>> {
            (0..size)
                .map(|i| source(start.saturating_add(i), padding, size, mode))
                .collect()
        };
        let rows = sources(placement.top, height);
        let mut columns = sources(placement.left, width);
        if placement.mirrored {
            columns.reverse();
        }
        let planes = image
            .chunks_exact(height * width)
            .zip(out.chunks_exact_mut(height * width));
        for ((source, target), table) in planes.zip(self.tables.iter()) {
            for (row, target) in rows.iter().zip(target.chunks_exact_mut(width)) {
                let Some(row) = *row else {
                    target.fill(table[0]);
                    continue;
                };
                let source = &source[row * width..(row + 1) * width];
                for (value, column) in target.iter_mut().zip(&columns) {
                    *value = table[column.map_or(0, |column| usize::from(source[column]))];
                }
            }
        }
    }
}

/// The pixel that position `at` of a padded line shows, `None` for black.
fn source(at: usize, padding: usize, size: usize, mode: PadMode) -> Option<usize> {
    if at >= padding && at - padding < size {
        return Some(at - padding);
    }
    match mode {
        PadMode::Zero => None,
        PadMode::Edge => Some(at.saturating_sub(padding).min(size - 1)),
        PadMode::Reflect => {
            // Mirrors repeat with this period, however wide the padding.
            let period = (2 * (size - 1)).max(1);
            let at = (at % period + period - padding % period) % period;
            Some(at.min(period - at).min(size - 1))
        }
    }
}
