//! The gradient of the loss over many images.

use candle_core::{ModuleT, Result, Tensor, Var};

use crate::autograd::value_and_grad;
use crate::ops::{CrossEntropy, Target, cross_entropy};

/// The gradient of the mean cross-entropy over `batches` of images, `[N, C, H, W]`, and labels, `[N]`,
/// with respect to each of `params`. The network runs in evaluation mode: batch norms use their running
/// statistics, and there is no dropout.
///
/// # Errors
/// The errors of the network, or if there are no images.
pub fn loss_gradient(
    network: &dyn ModuleT,
    params: &[(String, Var)],
    batches: &[(Tensor, Tensor)],
) -> Result<Vec<Tensor>> {
    let mut sizes = Vec::with_capacity(batches.len());
    for (_, labels) in batches {
        sizes.push(labels.dim(0)?);
    }
    let total: usize = sizes.iter().sum();
    if total == 0 {
        candle_core::bail!("there are no images");
    }
    let zeros = params
        .iter()
        .map(|(_, param)| param.as_detached_tensor().zeros_like());
    let mut sum: Vec<Tensor> = zeros.collect::<Result<_>>()?;
    for ((images, labels), size) in batches.iter().zip(sizes) {
        let forward = || {
            let logits = network.forward_t(images, false)?;
            let target = Target::Classes(labels);
            let loss = cross_entropy(&logits, &target, &CrossEntropy::default())?;
            Ok((loss, ()))
        };
        let (_, (), gradients) = value_and_grad(forward)?;
        let share = size as f64 / total as f64;
        for (sum, (_, param)) in sum.iter_mut().zip(params) {
            if let Some(gradient) = gradients.get(param) {
                *sum = (&*sum + (gradient * share)?)?.detach();
            }
        }
    }
    Ok(sum)
}
