//! The signal in the layers of any network.

use candle_core::{DType, Device, ModuleT, Result, Tensor, Var};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::autograd::value_and_grad;
use crate::nn::map_pre_activations;
use crate::ops::{CrossEntropy, Target, cross_entropy};
use crate::propagation::Signals;
use crate::rng::Generator;

/// The variance of the input of each activation layer, over all its values, and the norm of the
/// gradient of the cross-entropy with respect to each weight of two or more dimensions, in the order of
/// `params`. The network runs in training mode: batch norms use the batch's statistics.
///
/// # Shapes
/// - `images`: [N, C, H, W]
/// - `labels`: `[N]` class numbers
///
/// # Errors
/// The errors of the network.
pub fn network_signals(
    network: &dyn ModuleT,
    params: &[(String, Var)],
    images: &Tensor,
    labels: &Tensor,
) -> Result<Signals> {
    let forward = || {
        let run = || {
            let logits = network.forward_t(images, true)?;
            cross_entropy(&logits, &Target::Classes(labels), &CrossEntropy::default())
        };
        map_pre_activations(variance, run)
    };
    let (_, variances, gradients) = value_and_grad(forward)?;
    let weights = params.iter().filter(|(_, weight)| weight.rank() > 1);
    let norm = |(name, weight): &(String, Var)| {
        let norm = match gradients.get(weight) {
            Some(gradient) => scalar(&gradient.sqr()?.sum_all()?)?.sqrt(),
            None => 0.0,
        };
        Ok((name.clone(), norm))
    };
    Ok(Signals {
        variances,
        gradient_norms: weights.map(norm).collect::<Result<_>>()?,
    })
}

/// Images of standard normal values, `[N, C, H, W]`, and random labels below `classes`, `[N]`.
///
/// # Errors
/// If a tensor cannot be allocated.
pub fn random_batch(
    seed: u64,
    shape: [usize; 4],
    classes: usize,
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let random = Generator::named(seed, "signal");
    let mut random = random.lock();
    let values = shape.iter().product::<usize>();
    let images: Vec<f32> = (0..values).map(|_| random.sample(StandardNormal)).collect();
    let label = |_| random.random_range(0..classes as u32);
    let labels: Vec<u32> = (0..shape[0]).map(label).collect();
    let images = Tensor::from_vec(images, &shape, device)?;
    Ok((images, Tensor::new(labels, device)?))
}

fn variance(x: &Tensor) -> Result<f64> {
    let x = x.detach();
    let mean = scalar(&x.mean_all()?)?;
    scalar(&(x - mean)?.sqr()?.mean_all()?)
}

fn scalar(x: &Tensor) -> Result<f64> {
    x.to_dtype(DType::F64)?.to_scalar()
}
