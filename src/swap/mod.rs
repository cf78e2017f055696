//! What another activation does to trained weights.
//!
//! [`study`] puts activations into a network that was trained with another one and measures it:
//! as it is, with batch-norm statistics measured anew, after some training, layer by layer, and
//! on disturbed images.

mod fine_tune;
mod page;
mod parts;
mod report;
mod robustness;
mod study;

pub use fine_tune::FineTune;
pub use report::{
    Disturbance, Failure, LayerRow, Recovery, RecoveryPoint, Robustness, Row, Stage, SwapReport,
};
pub use study::study;

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;

use crate::activation::Activation;
use crate::data::Loader;
use crate::nn::{Blend, ParamStore};

/// Logits in training of images [N, C, H, W] and labels `[N]`, with the loss that the network adds
/// to that of its logits, if it has one.
pub type Forward = dyn Fn(&Tensor, &Tensor) -> Result<(Tensor, Option<Tensor>)>;

/// The network under study with a certain activation, holding the trained weights.
pub struct Variant {
    /// Weights and buffers, of this variant alone.
    pub store: ParamStore,
    /// Of the network built on `store`.
    pub forward: Box<Forward>,
    /// Built on [`ParamStore::frozen`] of `store`.
    pub frozen: Box<dyn ModuleT>,
    /// As `frozen`, with norms that average the statistics of all batches
    /// ([`BatchNorm2d::with_cumulative_statistics`](crate::nn::BatchNorm2d::with_cumulative_statistics))
    /// and nothing random.
    pub calibrating: Box<dyn ModuleT>,
}

/// Which activation goes where.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The new activation.
    pub to: Activation,
    /// Patterns of the paths of the layers that take it; all if there are none.
    pub layers: Vec<String>,
    /// Goes over gradually if there is one.
    pub blend: Option<Blend>,
}

/// Builds the network with its own activation, or with a replacement.
pub type Builder<'a> = dyn Fn(Option<&Replacement>) -> Result<Variant> + 'a;

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

/// The images of a study.
pub struct SwapData<'a> {
    /// Training images, shuffled and augmented, for statistics and fine-tuning.
    pub train: &'a Loader,
    /// What everything is measured on, in a fixed order.
    pub test: &'a Loader,
    /// Mean and standard deviation of the channels that the images were normalised with.
    pub normalisation: ([f32; 3], [f32; 3]),
}
