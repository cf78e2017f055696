//! Flags for the augmentation of training images.

use candle_mish::data::{AutoAugment, ColorJitter, PadMode};
use candle_mish::train::Recipe;
use clap::Args;

use crate::args::named::named;
use crate::args::range::{finite, whole};
use crate::args::set::{replace, set};
use crate::args::switch::{Switch, switch};

/// Flags for the augmentation of training images.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Augmentation")]
pub struct AugmentationArgs {
    /// Pixels of padding for random crops, or 0 for no crops [default: 4]
    #[arg(long, value_name = "PIXELS", value_parser = whole)]
    pub crop_padding: Option<usize>,
    /// Content of the padding: reflect, zero or edge [default: reflect]
    #[arg(long, value_name = "MODE", value_parser = named::<PadMode>)]
    pub crop_pad_mode: Option<PadMode>,
    /// Probability of a horizontal flip [default: 0.5, or 0 for mnist]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub hflip: Option<f64>,
    /// folder: range of the area of random crops, as a share of the image [default: 0.08 1]
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2, value_parser = finite)]
    pub scale: Option<Vec<f64>>,
    /// folder: range of the aspect ratio (width / height) of random crops [default: 0.75 1.333]
    #[arg(long, value_names = ["MIN", "MAX"], num_args = 2, value_parser = finite)]
    pub ratio: Option<Vec<f64>>,
    /// Probability of a vertical flip [default: 0]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub vflip: Option<f64>,
    /// Largest rotation in degrees, in either direction [default: 0]
    #[arg(long, value_name = "DEGREES", value_parser = finite)]
    pub degrees: Option<f64>,
    /// Policy in timm's notation: rand-m9-mstd0.5-inc1 (RandAugment), augmix-m3, original, originalr,
    /// v0, v0r, 3a, cifar10 (AutoAugment) or trivial (TrivialAugment) [default: none]
    #[arg(long, value_name = "POLICY", value_parser = switch::<AutoAugment>(&["none"]))]
    pub aa: Option<Switch<AutoAugment>>,
    /// Random brightness, contrast, saturation and hue: one number for the first three, or three or
    /// four with commas [default: none]
    #[arg(long, value_name = "X[,Y,Z[,HUE]]",
          value_parser = switch::<ColorJitter>(&["0", "none"]))]
    pub color_jitter: Option<Switch<ColorJitter>>,
    /// Probability of --color-jitter [default: 1]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub color_jitter_prob: Option<f64>,
    /// Probability of turning an image grey [default: 0]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub grayscale_prob: Option<f64>,
    /// Probability of a Gaussian blur [default: 0]
    #[arg(long, value_name = "P", value_parser = finite)]
    pub gaussian_blur_prob: Option<f64>,
}

impl AugmentationArgs {
    /// Overrides `recipe` with the flags given.
    pub fn apply(&self, recipe: &mut Recipe) {
        let pair = |values: &Option<Vec<f64>>| values.as_deref()?.try_into().ok();
        set(&mut recipe.crop_padding, self.crop_padding);
        set(&mut recipe.crop_pad_mode, self.crop_pad_mode);
        set(&mut recipe.hflip, self.hflip);
        set(&mut recipe.scale, pair(&self.scale));
        set(&mut recipe.ratio, pair(&self.ratio));
        set(&mut recipe.vflip, self.vflip);
        set(&mut recipe.degrees, self.degrees);
        Switch::apply(&self.aa, &mut recipe.aa);
        Switch::apply(&self.color_jitter, &mut recipe.color_jitter);
        replace(&mut recipe.color_jitter_prob, &self.color_jitter_prob);
        set(&mut recipe.grayscale_prob, self.grayscale_prob);
        set(&mut recipe.gaussian_blur_prob, self.gaussian_blur_prob);
    }
}
