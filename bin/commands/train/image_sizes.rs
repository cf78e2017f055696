//! The sizes of training images: whether the network takes them.

use candle_core::{DType, Tensor};
use candle_mish::train::Recipe;
use candle_mish_models::ModelSpec;

use crate::args::range::check_batch_of;
use crate::failure::usage;
use crate::network::Network;

/// Runs an image of each size of `recipe` through the network.
///
/// # Errors
/// A usage error if the network does not take a size, or a batch of that size is too large.
pub(super) fn check(
    network: &Network,
    spec: &ModelSpec,
    recipe: &Recipe,
    batch_size: usize,
) -> anyhow::Result<()> {
    let Some(sizes) = &recipe.train_img_sizes else {
        return Ok(());
    };
    for size in sizes.sizes() {
        check_batch_of(batch_size, [spec.in_chans, size, size])?;
        let shape = (1, spec.in_chans, size, size);
        let image = Tensor::zeros(shape, DType::F32, network.store.device())?;
        let logits = network.frozen.forward_t(&image, false);
        let finite = logits.and_then(|logits| {
            let sum = logits.to_dtype(DType::F32)?.sum_all()?;
            Ok(sum.to_scalar::<f32>()?.is_finite())
        });
        let problem = match finite {
            Ok(true) => continue,
            Ok(false) => "its logits are not finite".to_string(),
            Err(error) => error.to_string(),
        };
        let first = problem.lines().next().unwrap_or_default();
        return Err(usage(format!(
            "--train-img-sizes {sizes}: {} does not take images of {size}x{size} pixels: {first}",
            spec.model
        )));
    }
    Ok(())
}
