//! The measurements of a study, and its images.

use candle_core::{Error, Result, bail};

use super::approximation::LARGEST_PIECES;
use super::correction::Correction;
use super::distillation::Distillation;
use super::fine_tune::FineTune;
use super::save::SaveOptions;
use super::variant::Replacement;
use crate::activation::Activation;
use crate::data::Loader;
use crate::nn::LayerBlends;

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
    /// The number of batches for recalibrating batch-norm statistics; 0 skips it.
    pub recalibration_batches: usize,
    /// Corrections without training, each measured as a variant of its own.
    pub corrections: Vec<Correction>,
    /// The number of batches that corrections and approximations measure the networks on.
    pub correction_batches: usize,
    /// Training on the original's outputs, without labels; none skips it.
    pub distillation: Option<Distillation>,
    /// Training with the new activation; none skips it.
    pub fine_tune: Option<FineTune>,
    /// The search for the layers that can be swapped at a given loss of accuracy; none skips it.
    pub budget: Option<Budget>,
    /// The most pieces of the straight lines that approximate the network's activation; 0 skips the
    /// approximations.
    pub approximation_pieces: usize,
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
    /// Where to save the weights of each variant; none does not save them.
    pub save: Option<SaveOptions>,
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
            corrections: Vec::new(),
            correction_batches: 16,
            distillation: None,
            fine_tune: None,
            budget: None,
            approximation_pieces: 0,
            layer_images: 0,
            noise: Vec::new(),
            fgsm: Vec::new(),
            robustness_images: 0,
            seed: 0,
            setting: Vec::new(),
            save: None,
        }
    }
}

impl SwapOptions {
    /// Checks the range of each value.
    ///
    /// # Errors
    /// A strength is not in [0, 1], or another value is out of range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, strengths) in [("noise", &self.noise), ("fgsm", &self.fgsm)] {
            if let Some(strength) = strengths.iter().find(|s| !(0.0..=1.0).contains(*s)) {
                bail!("{name} is {strength:?}, must be between 0 and 1");
            }
        }
        if self.correction_batches == 0 && !self.corrections.is_empty() {
            bail!("correction_batches is 0: the corrections need images");
        }
        let fits =
            self.approximation_pieces > 0 || self.corrections.contains(&Correction::Constants);
        if fits && self.from.is_learnable() {
            bail!(
                "{}: constants and approximations fit one function, and this one has learned other \
                 parameters in each layer",
                self.from
            );
        }
        let pieces = self.approximation_pieces;
        if pieces == 1 || pieces > LARGEST_PIECES {
            bail!("approximation_pieces is {pieces}, must be 0 or from 2 to {LARGEST_PIECES}");
        }
        if let Some(budget) = &self.budget {
            budget.check()?;
        }
        if let Some(distillation) = &self.distillation {
            distillation.check()?;
        }
        match &self.fine_tune {
            Some(fine_tune) => fine_tune.recipe.validate().map_err(Error::wrap),
            None => Ok(()),
        }
    }

    /// Whether a training blends from the old to the new activation.
    pub(super) fn blends(&self) -> bool {
        let distillation = self.distillation.as_ref().map(|distill| &distill.training);
        let trainings = [distillation, self.fine_tune.as_ref()];
        trainings
            .into_iter()
            .flatten()
            .any(|training| training.blend.is_some())
    }

    /// Replaces the network's activation by `to` in the layers of the study.
    pub(super) fn replacement(&self, to: &Activation, blend: Option<LayerBlends>) -> Replacement {
        Replacement {
            layers: self.layers.clone(),
            blend,
            ..Replacement::new(*to)
        }
    }
}

/// A search for layers to swap.
///
/// It starts from the original network. Each round swaps each remaining layer in addition to those
/// chosen, recalibrates the batch norms, and measures the network. The layer whose swap changes the
/// outputs least, by the KL divergence from the original's, is chosen. The search ends with all layers,
/// or when the loss of top-1 exceeds the budget even at the end of its 95 % interval. More layers hardly
/// lose less, so the losses are made monotone, which averages their noise. The result is the longest swap
/// whose loss is then within the budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// The loss of top-1 that is allowed, in points.
    pub points: f64,
    /// The number of random test images that the search measures. The result is measured on the
    /// others.
    pub images: usize,
    /// The batches that each measurement recalibrates batch norms on; 0 keeps their statistics.
    pub recalibration_batches: usize,
}

impl Budget {
    fn check(&self) -> Result<()> {
        if !(0.0..=100.0).contains(&self.points) {
            bail!(
                "budget: points is {:?}, must be between 0 and 100",
                self.points
            );
        }
        if self.images == 0 {
            bail!("budget: images is 0, the search needs images");
        }
        Ok(())
    }
}

/// The images of a study.
pub struct SwapData<'a> {
    /// Training images, shuffled and augmented, for fine-tuning.
    pub train: &'a Loader,
    /// Images for recalibration, corrections and distillation, whose labels are not used: usually the
    /// training images.
    pub calibration: &'a Loader,
    /// The test images, in a fixed order.
    pub test: &'a Loader,
    /// The mean and standard deviation of each channel in the normalisation of the images.
    pub normalisation: ([f32; 3], [f32; 3]),
}
