//! Augmentation of training images and their conversion to normalised floats, in one pass.

use serde::{Deserialize, Serialize};

use super::erasing::RandomErasing;
use super::flip::FlipMode;
use super::random::Draw;
use super::resized_crop::ResizedCrop;

/// The content of the padding around an image before a random crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadMode {
    /// The image mirrored at its border, without repeating the border.
    #[default]
    Reflect,
    /// Black.
    Zero,
    /// The nearest pixel of the border.
    Edge,
}

/// Random changes to training images, drawn for each image in each epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Pixels of padding on each side before a random crop of the original size; 0 for no crop.
    pub crop_padding: usize,
    /// The content of the padding.
    pub pad_mode: PadMode,
    /// The probability of a horizontal flip, in [0, 1].
    pub hflip: f64,
    /// How the images to flip are chosen. Alternating flips do not depend on `hflip`, unless it is 0.
    pub flip_mode: FlipMode,
    /// A random part of each image scaled to the size of the set, instead of the padded crop. Applies
    /// to image files, which have any size; other sets ignore it.
    pub resized_crop: Option<ResizedCrop>,
    /// Rectangles of the normalised image to replace.
    pub erasing: Option<RandomErasing>,
    /// The side of a square of the normalised image to set to 0, in pixels of the full-size image; 0
    /// for none.
    pub cutout: usize,
}

impl Augmentation {
    /// No changes.
    pub fn none() -> Self {
        Self {
            crop_padding: 0,
            pad_mode: PadMode::Reflect,
            hflip: 0.0,
            flip_mode: FlipMode::Random,
            resized_crop: None,
            erasing: None,
            cutout: 0,
        }
    }
}

impl Default for Augmentation {
    /// The usual augmentation: 4 pixels of padding as for CIFAR, random resized crops of at least 8 %
    /// of the area as for ImageNet, and flips with probability 0.5.
    fn default() -> Self {
        Self {
            crop_padding: 4,
            pad_mode: PadMode::Reflect,
            hflip: 0.5,
            resized_crop: Some(ResizedCrop::default()),
            ..Self::none()
        }
    }
}

/// One draw of an [`Augmentation`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    /// The top-left corner of the crop in the padded image.
    top: usize,
    left: usize,
    mirrored: bool,
}

impl Placement {
    /// Draws the position of the crop, then the flip. Always three draws, so that one setting does not
    /// change the draws of another.
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

    /// The same crop, flipped or not.
    pub(crate) fn mirrored(self, mirrored: bool) -> Self {
        Self { mirrored, ..self }
    }

    /// The crop of `image` `[channels, height, width]`, flipped if drawn so, of the same size.
    pub(crate) fn apply(
        self,
        image: &[u8],
        (height, width): (usize, usize),
        augmentation: &Augmentation,
    ) -> Vec<u8> {
        let (padding, mode) = (augmentation.crop_padding, augmentation.pad_mode);
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

/// The mean and standard deviation of each of `channels` channels. A single channel, which is grey,
/// has the averages over the colours.
pub(crate) fn channel_moments(mean: [f32; 3], std: [f32; 3], channels: usize) -> Vec<(f32, f32)> {
    let average = |values: [f32; 3]| values.iter().sum::<f32>() / 3.0;
    match channels {
        1 => vec![(average(mean), average(std))],
        _ => mean.into_iter().zip(std).collect(),
    }
}

/// Converts bytes to normalised floats with a table for each channel.
#[derive(Debug, Clone)]
pub(crate) struct Normaliser {
    /// A table for each channel.
    tables: Vec<[f32; 256]>,
}

impl Normaliser {
    /// Maps byte `b` of channel `c` to `(b / 255 - mean[c]) / std[c]`, with the
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

    /// Normalises `image` into `out`, both `[channels, height, width]`.
    pub(crate) fn apply(&self, image: &[u8], out: &mut [f32]) {
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
