//! What can be chosen for every network.

use std::fmt;
use std::str::FromStr;

use candle_mish::activation::Activation;
use candle_mish::nn::Blend;
use candle_mish::pattern::matches;
use candle_mish::rng::Generator;
use serde::{Deserialize, Serialize};

/// The options of [`crate::create`], with timm's names where timm has them.
///
/// The default is a network for CIFAR-100 with Mish; [`Options::imagenet`] is one whose
/// checkpoint keys and shapes are those of an ImageNet checkpoint.
#[derive(Debug, Clone)]
pub struct Options {
    /// The activation wherever the network has one. Mish by default.
    pub activation: Activation,
    /// The activation of gates such as that of squeeze-and-excitation, which scale features and
    /// are no non-linearity between layers. That of the paper by default.
    pub gate: Option<Activation>,
    /// The width of the logits. 100 by default.
    pub num_classes: usize,
    /// The channels of the images. 3 by default.
    pub in_channels: usize,
    /// For which images the first layers are made. [`Stem::Cifar`] by default.
    pub stem: Stem,
    /// The probability of dropping a feature in front of the classifier. 0 by default.
    pub drop_rate: f64,
    /// The probability of skipping the last residual block of an image while training; earlier
    /// blocks are skipped less, down to never for the first (stochastic depth). 0 by default.
    pub drop_path_rate: f64,
    /// Another activation in the whole network or a part of it. None by default.
    pub swap: Option<Swap>,
    /// Batch norms average all batches that they see instead of favouring the latest: for
    /// measuring the statistics of trained weights anew. False by default.
    pub cumulative_statistics: bool,
    /// Where the random layers (dropout, RReLU) draw from while training.
    pub generator: Generator,
}

/// An activation to put in the place of a network's own.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The new activation.
    pub to: Activation,
    /// The activation layers that take it, by path (`layer1.0.act1`, `layer2*`); `*` stands for
    /// any characters. All if there are none.
    pub layers: Vec<String>,
    /// Goes over gradually, as this says; at once if there is none.
    pub blend: Option<Blend>,
}

impl Swap {
    /// Whether the layer at `path` takes the new activation.
    pub fn reaches(&self, path: &str) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|pattern| matches(pattern, path))
    }
}

impl Options {
    /// A network for ImageNet's 1000 classes.
    pub fn imagenet() -> Self {
        Self {
            num_classes: 1000,
            stem: Stem::ImageNet,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            activation: Activation::Mish,
            gate: None,
            num_classes: 100,
            in_channels: 3,
            stem: Stem::Cifar,
            drop_rate: 0.0,
            drop_path_rate: 0.0,
            swap: None,
            cumulative_statistics: false,
            generator: Generator::new(0),
        }
    }
}

/// For which images a network's first layers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// Images of 32x32: the resolution is kept in the first layers, as in the usual CIFAR ports.
    #[default]
    Cifar,
    /// Images of 224x224 or about that: as in the paper, with the checkpoint keys of timm.
    ImageNet,
}

impl Stem {
    /// Both, by name.
    pub const ALL: [(&'static str, Self); 2] =
        [("cifar", Self::Cifar), ("imagenet", Self::ImageNet)];
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cifar => "cifar",
            Self::ImageNet => "imagenet",
        })
    }
}

impl FromStr for Stem {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let found = found.map(|(_, stem)| *stem);
        found.ok_or_else(|| format!("unknown stem '{text}'; there are cifar and imagenet"))
    }
}
