//! The number of floating-point operations of a run.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::error::TrainError;
use super::trainer::Run;
use crate::nn::summarize;

/// The floating-point operations of the training steps in the first `epochs` of `run`, without evaluation: two for each
/// multiply-add of the convolutions and linear layers, as in fvcore's and timm's counts. The backward pass
/// counts as two forward passes, and not at all if the recipe freezes the backbone.
///
/// # Errors
/// If the network fails on an image of one of the run's sizes.
pub fn training_flops(run: &Run<'_>, epochs: usize) -> Result<f64, TrainError> {
    let passes = if run.recipe.freeze_backbone { 1.0 } else { 3.0 };
    let mut epochs_of_size = BTreeMap::new();
    for epoch in 0..epochs as u64 {
        *epochs_of_size
            .entry(run.train.image_size(epoch))
            .or_insert(0.0) += 1.0;
    }
    let mut multiply_adds = 0.0;
    for ((height, width), epochs) in epochs_of_size {
        let shape = (1, run.train.images().channels(), height, width);
        let image = Tensor::zeros(shape, DType::F32, run.store.device())?;
        let (_, layers) = summarize(|| run.frozen.forward_t(&image, false))?;
        let of_image: u64 = layers.iter().map(|layer| layer.multiply_adds).sum();
        multiply_adds += of_image as f64 * epochs;
    }
    Ok(2.0 * passes * multiply_adds * run.train.images_per_epoch() as f64)
}
