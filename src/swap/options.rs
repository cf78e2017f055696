//! What a study measures, and on what.

use candle_core::{Error, Result, bail};

use super::fine_tune::FineTune;
use super::variant::Replacement;
use crate::activation::Activation;
use crate::data::Loader;
use crate::nn::Blend;

/// What to find out.
#[derive(Debug, Clone)]
pub struct SwapOptions {
    /// The network's name, for the report.
    pub model: String,
    /// The activation that it was trained with.
    pub from: Activation,
    /// The activations to put in its place.
    pub to: Vec<Activation>,
    /// The layers that take them, by patterns of their paths; all if there are none.
    pub layers: Vec<String>,
    /// Training batches over which batch-norm statistics are measured anew; 0 leaves this out.
    pub recalibration_batches: usize,
    /// How to train with the new activation, if at all.
    pub fine_tune: Option<FineTune>,
    /// Images, drawn at random, for swapping one layer or stage at a time; 0 leaves this out.
    pub layer_images: usize,
    /// Standard deviations of Gaussian noise, in parts of the range of a pixel.
    pub noise: Vec<f64>,
    /// Steps of the fast gradient sign method, in parts of the range of a pixel.
    pub fgsm: Vec<f64>,
    /// Images, drawn at random, that are disturbed; 0 leaves this out.
    pub robustness_images: usize,
    /// Seeds the draw of images and the noise.
    pub seed: u64,
    /// What was the study made of, for the report: data set, weights, command.
    pub setting: Vec<(String, String)>,
}

impl SwapOptions {
    /// The options of a study that only measures each of `to` in the place of `from`, everywhere,
    /// with and without recalibration over 100 batches.
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
    /// Refuses values that no study can work with.
    ///
    /// # Errors
    /// A strength outside [0, 1] or not a number, or a recipe that is out of range.
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

    /// `to` in the place of the network's own activation, in the layers of the study.
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
    /// What everything is measured on, in a fixed order.
    pub test: &'a Loader,
    /// Mean and standard deviation of the channels that the images were normalised with.
    pub normalisation: ([f32; 3], [f32; 3]),
}
