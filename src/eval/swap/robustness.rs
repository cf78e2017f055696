//! Images with noise, and images changed to mislead the network.

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;
use rand_distr::{Distribution, StandardNormal};

use super::variable;
use crate::autograd::value_and_grad;
use crate::ops::{CrossEntropy, Target, cross_entropy};
use crate::rng::Generator;

/// Disturbs normalised images and keeps their pixels in the range that they came from.
pub(super) struct Disturber {
    mean: [f32; 3],
    std: [f32; 3],
}

impl Disturber {
    /// For images that were normalised with this mean and standard deviation of the channels.
    pub fn new((mean, std): ([f32; 3], [f32; 3])) -> Self {
        Self { mean, std }
    }

    /// Adds Gaussian noise of standard deviation `strength`, a part of the range of a pixel. The
    /// same `seed` gives the same noise, whatever the network.
    pub fn noise(&self, images: &Tensor, strength: f64, seed: u64) -> Result<Tensor> {
        let generator = Generator::named(seed, "noise");
        let mut random = generator.lock();
        self.change(images, |_| {
            let normal: f32 = StandardNormal.sample(&mut *random);
            strength as f32 * normal
        })
    }

    /// The fast gradient sign method (Goodfellow et al., "Explaining and Harnessing Adversarial
    /// Examples", 2015, section 4): a step of `strength`, a part of the range of a pixel, up the
    /// loss.
    pub fn fgsm(
        &self,
        frozen: &dyn ModuleT,
        images: &Tensor,
        labels: &Tensor,
        strength: f64,
    ) -> Result<Tensor> {
        let x = variable(images)?;
        let (_, (), gradients) = value_and_grad(|| {
            let logits = frozen.forward_t(&x, false)?;
            let target = Target::Classes(labels);
            Ok((
                cross_entropy(&logits, &target, &CrossEntropy::default())?,
                (),
            ))
        })?;
        let Some(gradient) = gradients.get(&x) else {
            candle_core::bail!("fgsm: the network's output does not depend on its images");
        };
        let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        self.change(images, |i| match gradient[i] {
            g if g > 0.0 => strength as f32,
            g if g < 0.0 => -strength as f32,
            _ => 0.0,
        })
    }

    /// Adds `by(i)` to value i of the images, in units of the range of a pixel.
    fn change(&self, images: &Tensor, mut by: impl FnMut(usize) -> f32) -> Result<Tensor> {
        let (_, channels, height, width) = images.dims4()?;
        if channels != self.mean.len() {
            candle_core::bail!("only images of {} channels are disturbed", self.mean.len());
        }
        let mut values = images.flatten_all()?.to_vec1::<f32>()?;
        for (i, value) in values.iter_mut().enumerate() {
            let channel = i / (height * width) % channels;
            let (mean, std) = (self.mean[channel], self.std[channel]);
            let pixel = (*value * std + mean + by(i)).clamp(0.0, 1.0);
            *value = (pixel - mean) / std;
        }
        Tensor::from_vec(values, images.shape(), images.device())
    }
}
