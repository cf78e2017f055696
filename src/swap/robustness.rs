//! Perturbed images: noise and adversarial steps.

use candle_core::{Result, Tensor, Var};
use candle_nn::ModuleT;
use rand_distr::{Distribution, StandardNormal};

use super::logits::batches;
use super::report::{Perturbation, Robustness};
use super::study::{Role, Study};
use crate::activation::Activation;
use crate::autograd::value_and_grad;
use crate::data::channel_moments;
use crate::eval::Comparison;
use crate::ops::{CrossEntropy, Target, cross_entropy};
use crate::rng::Generator;

/// Perturbs normalised images and keeps the pixels in their range.
pub(super) struct Perturber {
    mean: [f32; 3],
    std: [f32; 3],
}

impl Perturber {
    /// For images normalised with this mean and standard deviation of each channel.
    pub fn new((mean, std): ([f32; 3], [f32; 3])) -> Self {
        Self { mean, std }
    }

    /// Adds Gaussian noise from `generator` with standard deviation `strength`, a fraction of the pixel
    /// range.
    pub fn noise(&self, images: &Tensor, strength: f64, generator: &Generator) -> Result<Tensor> {
        let mut random = generator.lock();
        self.change(images, |_| {
            let normal: f32 = StandardNormal.sample(&mut *random);
            strength as f32 * normal
        })
    }

    /// A step of `strength`, a fraction of the pixel range, along the sign of `gradient`. With
    /// [`loss_gradient`] this is the fast gradient sign method (Goodfellow et al., "Explaining and
    /// Harnessing Adversarial Examples", 2015, section 4).
    pub fn step(&self, images: &Tensor, gradient: &[f32], strength: f64) -> Result<Tensor> {
        self.change(images, |i| match gradient[i] {
            g if g > 0.0 => strength as f32,
            g if g < 0.0 => -strength as f32,
            _ => 0.0,
        })
    }

    /// Adds `by(i)` to value `i` of the images, as a fraction of the pixel range.
    fn change(&self, images: &Tensor, mut by: impl FnMut(usize) -> f32) -> Result<Tensor> {
        let (_, channels, height, width) = images.dims4()?;
        let moments = channel_moments(self.mean, self.std, channels);
        if moments.len() != channels {
            candle_core::bail!("perturbations need images of 1 or 3 channels, not {channels}");
        }
        let mut values = images.flatten_all()?.to_vec1::<f32>()?;
        for (i, value) in values.iter_mut().enumerate() {
            let (mean, std) = moments[i / (height * width) % channels];
            let pixel = (*value * std + mean + by(i)).clamp(0.0, 1.0);
            *value = (pixel - mean) / std;
        }
        Tensor::from_vec(values, images.shape(), images.device())
    }
}

/// The gradient of the cross-entropy with respect to the images, in evaluation mode.
pub(super) fn loss_gradient(
    frozen: &dyn ModuleT,
    images: &Tensor,
    labels: &Tensor,
) -> Result<Vec<f32>> {
    let x = Var::from_tensor(&images.detach())?;
    let (_, (), gradients) = value_and_grad(|| {
        let logits = frozen.forward_t(&x, false)?;
        let target = Target::Classes(labels);
        let loss = cross_entropy(&logits, &target, &CrossEntropy::default())?;
        Ok((loss, ()))
    })?;
    let Some(gradient) = gradients.get(&x) else {
        candle_core::bail!("fgsm: the network's output does not depend on its images");
    };
    gradient.flatten_all()?.to_vec1::<f32>()
}

impl Study<'_> {
    /// Measures clean images, each noise and each attack.
    pub(super) fn perturb(
        &mut self,
        to: &Activation,
        role: Role,
        frozen: &dyn ModuleT,
    ) -> Result<()> {
        let (options, stop) = (self.options, self.stop);
        let test = self
            .data
            .test
            .sample(options.robustness_images, options.seed);
        let perturber = Perturber::new(self.data.normalisation);
        let generators: Vec<Generator> = options
            .noise
            .iter()
            .map(|strength| Generator::named(options.seed, &format!("noise {strength}")))
            .collect();
        let strengths = |perturbation, strengths: &[f64]| {
            let case = |strength: &f64| (perturbation, *strength);
            strengths.iter().map(case).collect::<Vec<_>>()
        };
        let mut cases = vec![(Perturbation::None, 0.0)];
        cases.extend(strengths(Perturbation::Noise, &options.noise));
        cases.extend(strengths(Perturbation::Fgsm, &options.fgsm));
        let mut logits = vec![Vec::new(); cases.len()];
        let mut labels = Vec::new();
        for batch in batches(&test, stop) {
            let (x, y) = batch?;
            let mut images = vec![x.clone()];
            for (strength, generator) in options.noise.iter().zip(&generators) {
                images.push(perturber.noise(&x, *strength, generator)?);
            }
            if !options.fgsm.is_empty() {
                let gradient = loss_gradient(frozen, &x, &y)?;
                for strength in &options.fgsm {
                    images.push(perturber.step(&x, &gradient, *strength)?);
                }
            }
            for (rows, images) in logits.iter_mut().zip(&images) {
                rows.push(frozen.forward_t(images, false)?.detach());
            }
            labels.extend(y.to_vec1::<u32>()?);
        }
        for (index, ((perturbation, strength), rows)) in cases.into_iter().zip(logits).enumerate() {
            let logits = Tensor::cat(&rows, 0)?;
            let control = match role {
                Role::Control => &logits,
                Role::Candidate => &self.controls.perturbed[index],
            };
            let comparison = Comparison::new(control, &logits, &labels)?;
            self.report.robustness.push(Robustness {
                activation: to.to_string(),
                perturbation,
                strength,
                images: comparison.images,
                top1: comparison.top1,
                loss: comparison.loss,
                from_control: (role == Role::Candidate).then_some(comparison.change),
            });
            if role == Role::Control {
                self.controls.perturbed.push(logits);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const MEAN: [f32; 3] = [0.5, 0.4, 0.3];
    const STD: [f32; 3] = [0.2, 0.25, 0.3];

    /// The pixels of normalised images.
    fn pixels(images: &Tensor) -> Result<Vec<f32>> {
        let (_, _, height, width) = images.dims4()?;
        let values = images.flatten_all()?.to_vec1::<f32>()?;
        let pixel = |(i, value): (usize, &f32)| {
            let channel = i / (height * width) % 3;
            value * STD[channel] + MEAN[channel]
        };
        Ok(values.iter().enumerate().map(pixel).collect())
    }

    /// Images with all pixels equal to `value`.
    fn flat(value: f32, size: usize) -> Result<Tensor> {
        let channels: Vec<Tensor> = (0..3)
            .map(|c| Tensor::full((value - MEAN[c]) / STD[c], (2, 1, size, size), &Device::Cpu))
            .collect::<Result<_>>()?;
        Tensor::cat(&channels, 1)
    }

    #[test]
    fn noise_has_its_deviation_in_pixels_and_repeats_with_the_seed() -> Result<()> {
        let perturber = Perturber::new((MEAN, STD));
        let images = flat(0.5, 64)?;
        let noisy = |seed| perturber.noise(&images, 0.05, &Generator::new(seed));
        let changes: Vec<f64> = pixels(&noisy(1)?)?
            .iter()
            .map(|p| f64::from(p - 0.5))
            .collect();
        let n = changes.len() as f64;
        let deviation = (changes.iter().map(|c| c * c).sum::<f64>() / n).sqrt();
        // Six standard errors of a deviation of n values.
        assert!(
            (deviation - 0.05).abs() < 6.0 * 0.05 / (2.0 * n).sqrt(),
            "{deviation}"
        );
        assert_eq!(pixels(&noisy(1)?)?, pixels(&noisy(1)?)?);
        assert_ne!(pixels(&noisy(1)?)?, pixels(&noisy(2)?)?);
        Ok(())
    }

    #[test]
    fn a_step_follows_the_sign_and_stays_in_the_range() -> Result<()> {
        let perturber = Perturber::new((MEAN, STD));
        let images = flat(0.99, 1)?;
        let gradient = [3.0, -0.1, 0.0, 1e-9, -7.0, 2.0];
        let found = pixels(&perturber.step(&images, &gradient, 0.03)?)?;
        for (found, expected) in found.iter().zip([1.0, 0.96, 0.99, 1.0, 0.96, 1.0]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        // Grey images have the averages of the moments: 0.4 and 0.25.
        let grey = Tensor::zeros((1, 1, 1, 1), candle_core::DType::F32, &Device::Cpu)?;
        let moved = perturber.step(&grey, &[1.0], 0.1)?.flatten_all()?;
        assert!((moved.to_vec1::<f32>()?[0] - 0.4).abs() < 1e-6);
        let two = Tensor::zeros((1, 2, 1, 1), candle_core::DType::F32, &Device::Cpu)?;
        assert!(perturber.step(&two, &[0.0; 2], 0.1).is_err());
        Ok(())
    }
}
