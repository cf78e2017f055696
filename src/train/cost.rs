//! The number of floating-point operations of a run.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::error::TrainError;
use super::trainer::Run;
use crate::nn::summarize;

/// The floating-point operations of the training steps in each epoch of `run`, without evaluation: two for
/// each multiply-add of the convolutions and linear layers, whatever the algorithm. The backward pass counts
/// as two forward passes, and not at all if the recipe freezes the backbone.
///
/// # Errors
/// If the network fails on an image of one of the run's sizes.
pub fn training_flops(run: &Run<'_>) -> Result<Vec<f64>, TrainError> {
    let passes = if run.recipe.freeze_backbone { 1.0 } else { 3.0 };
    let of_multiply_add = 2.0 * passes * run.train.images_per_epoch() as f64;
    let mut known = BTreeMap::new();
    let mut of_size = |(height, width)| {
        if let Some(flops) = known.get(&(height, width)) {
            return Ok(*flops);
        }
        let shape = (1, run.train.images().channels(), height, width);
        let image = Tensor::zeros(shape, DType::F32, run.store.device())?;
        let (_, layers) = summarize(|| run.frozen.forward_t(&image, false))?;
        let multiply_adds: u64 = layers.iter().map(|layer| layer.multiply_adds).sum();
        let flops = of_multiply_add * multiply_adds as f64;
        known.insert((height, width), flops);
        Ok(flops)
    };
    let epochs = 0..run.recipe.epochs as u64;
    epochs
        .map(|epoch| of_size(run.train.image_size(epoch)))
        .collect()
}
