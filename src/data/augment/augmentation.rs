//! The random changes to training images, as a configuration.

use serde::{Deserialize, Serialize};

use super::pixels::PixelAugmentation;
use crate::data::erasing::RandomErasing;
use crate::data::flip::FlipMode;
use crate::data::resized_crop::ResizedCrop;

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
    /// Changes to the bytes after the crop and the flip.
    #[serde(default)]
    pub pixels: PixelAugmentation,
    /// The standard deviation of Gaussian noise on the normalised image, before `erasing`; 0 for none.
    #[serde(default)]
    pub input_noise: f64,
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
            pixels: PixelAugmentation::default(),
            input_noise: 0.0,
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
