//! A row of the table of weights.

use candle_mish::activation::Activation;
#[cfg(feature = "data")]
use candle_mish::data::Preprocess;

use crate::pretrained::address::{HubFile, Location};
use crate::spec::Stem;

/// Weights of one network on the Hub. Names are timm's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pretrained {
    /// The network's name in the registry.
    pub model: &'static str,
    /// timm's tag, which names the training and its data.
    pub tag: &'static str,
    /// The repository, `owner/name`.
    pub repo: &'static str,
    /// The file in it.
    pub file: &'static str,
    /// The network's stem.
    pub stem: Stem,
    /// The activation that the weights were trained with.
    pub activation: Activation,
    /// The number of classes.
    pub num_classes: usize,
    /// Height and width of the images, in pixels.
    pub input_size: usize,
    /// The share of the image's shorter side that the centre crop keeps.
    pub crop_pct: f64,
    /// The resize filter: `bilinear` or `bicubic`.
    pub interpolation: &'static str,
    /// The mean of each channel of pixels in [0, 1].
    pub mean: [f32; 3],
    /// The standard deviation of each channel.
    pub std: [f32; 3],
    /// The SPDX name of the licence.
    pub license: &'static str,
}

impl Pretrained {
    /// How to prepare images.
    #[cfg(feature = "data")]
    pub fn preprocess(&self) -> Preprocess {
        Preprocess {
            input_size: self.input_size,
            crop_pct: self.crop_pct,
            // Every row has one that is known.
            interpolation: self.interpolation.parse().unwrap_or_default(),
            mean: self.mean,
            std: self.std,
        }
    }

    /// Their file on the Hub.
    pub fn location(&self) -> Location {
        Location::Hub(HubFile {
            repo: self.repo.to_string(),
            revision: None,
            file: Some(self.file.to_string()),
        })
    }
}
