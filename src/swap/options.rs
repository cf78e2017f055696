//! The measurements of a study, and its images.

use candle_core::{Error, Result, bail};

use super::fine_tune::FineTune;
use super::variant::Replacement;
use crate::activation::Activation;
use crate::data::Loader;
use crate::nn::Blend;

/// The measurements of a study.
#[derive(Debug, Clone)]
pub struct SwapOptions {
    /// The name of the network, for the report.
    pub model: String,
    /// The activation in training.
    pub from: Activation,
    /// The activations that replace it.
    pub to: Vec<Activation>,
    /// Patterns of the paths of the layers to change; all layers if empty.
    pub layers: Vec<String>,
    /// The number of training batches for recalibrating batch-norm statistics; 0 skips it.
    pub recalibration_batches: usize,
    /// Training with the new activation; none skips it.
    pub fine_tune: Option<FineTune>,
    /// The number of random images for swapping one layer or stage at a time; 0 skips it.
    pub layer_images: usize,
    /// Standard deviations of Gaussian noise, as fractions of the pixel range.
    pub noise: Vec<f64>,
    /// Step sizes of the fast gradient sign method, as fractions of the pixel range.
    pub fgsm: Vec<f64>,
    /// The number of random images to perturb; 0 skips it.
    pub robustness_images: usize,
    /// The seed of the drawn images and of the noise.
    pub seed: u64,
    /// The setting of the study by name, for the report: data set, weights, command.
    pub setting: Vec<(String, String)>,
}

impl SwapOptions {
    /// A study that replaces `from` by each of `to` in all layers, without and with recalibration over
    /// 100 batches.
    pub fn new(model: &str, from: Activation, to: &[Activation]) -> Self {
        Self {
            model: model.to_string(),
            from,
            to: to.to_vec(),
            layers: Vec::new(),
            recalibration_batches: 100,
            fine_tune: None,
            layer_images: 0,
            noise: Vec::new(),
            fgsm: Vec::new(),
            robustness_images: 0,
            seed: 0,
            setting: Vec::new(),
        }
    }
}

impl SwapOptions {
    /// Checks the range of each value.
    ///
    /// # Errors
    /// A strength is not in [0, 1], or the recipe of the fine-tuning is out of range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, strengths) in [("noise", &self.noise), ("fgsm", &self.fgsm)] {
            if let Some(strength) = strengths.iter().find(|s| !(0.0..=1.0).contains(*s)) {
                bail!("{name} is {strength:?}, must be between 0 and 1");
            }
        }
        match &self.fine_tune {
            Some(fine_tune) => fine_tune.recipe.validate().map_err(Error::wrap),
            None => Ok(()),
        }
    }

    /// Replaces the network's activation by `to` in the layers of the study.
    pub(super) fn replacement(&self, to: &Activation, blend: Option<Blend>) -> Replacement {
        Replacement {
            to: *to,
            layers: self.layers.clone(),
            blend,
        }
    }
}

/// The images of a study.
pub struct SwapData<'a> {
    /// Training images, shuffled and augmented, for statistics and fine-tuning.
    pub train: &'a Loader,
    /// The test images, in a fixed order.
    pub test: &'a Loader,
    /// The mean and standard deviation of each channel in the normalisation of the images.
    pub normalisation: ([f32; 3], [f32; 3]),
}
