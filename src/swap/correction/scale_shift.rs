//! A scale and a shift of each channel before and after an activation.

use std::collections::HashMap;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::log_softmax;
use rayon::prelude::*;

use super::corrector::{Corrector, Tensors};
use super::fit::least_squares;
use super::original::OriginalActivation;
use super::sites::{Consumer, Part, Producer, Site};
use crate::activation::Activation;
use crate::swap::variant::Variant;

/// The range of a scale. Outside of it, the fit describes noise.
const SCALES: std::ops::RangeInclusive<f64> = 0.25..=4.0;

/// gain f(scale x + shift) + offset, in place of f(x).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    scale: f64,
    shift: f64,
    gain: f64,
    offset: f64,
}

const IDENTITY: Affine = Affine {
    scale: 1.0,
    shift: 0.0,
    gain: 1.0,
    offset: 0.0,
};

impl Affine {
    /// What the activation gets for x.
    pub(super) fn before(&self, x: f64) -> f64 {
        self.scale * x + self.shift
    }
}

/// The parameters that the layers around the activation can take.
#[derive(Debug, Clone, Copy)]
struct Free {
    scale: bool,
    shift: bool,
    gain: bool,
    offset: bool,
}

impl Corrector<'_> {
    /// Fits each activation to the original's on inputs of each channel, and changes the layers around
    /// it. Returns the changes of each activation's channels by its path.
    ///
    /// A fit minimises the error of one activation, but what the next layers make of the error also
    /// depends on how the channels' errors add up and on the padding. So a change stays only if it
    /// reduces the divergence of the logits from the original's, with all statistics measured again.
    ///
    /// The inputs are the original's, not the network's own: these differ more with every layer, and a
    /// fit of outputs to inputs with errors would shrink the outputs.
    pub(super) fn scale_and_shift(
        &self,
        variant: &Variant,
        tensors: &Tensors,
        parts: &[Part],
        originals: &HashMap<String, OriginalActivation>,
    ) -> Result<HashMap<String, Vec<Affine>>> {
        let logits = self.original_logits()?;
        let mut smallest = self.divergence(variant, &logits)?;
        let mut changes = HashMap::new();
        for part in parts {
            let Part::Activation(site) = part else {
                continue;
            };
            let Some(original) = originals.get(&site.path) else {
                continue;
            };
            for free in Free::choices(site) {
                let Some(fits) = fits(site, original, free) else {
                    continue;
                };
                let before = tensors.snapshot(&site.neighbours())?;
                if let Some(producer) = &site.producer {
                    fold_before(tensors, producer, &fits)?;
                }
                if let Some(consumer) = &site.consumer {
                    fold_after(tensors, consumer, &fits)?;
                }
                let divergence = self.divergence(variant, &logits)?;
                if divergence < smallest {
                    smallest = divergence;
                    changes.insert(site.path.clone(), fits);
                    break;
                }
                tensors.restore(&before)?;
            }
        }
        Ok(changes)
    }

    /// The log-probabilities of the original for each batch of images.
    fn original_logits(&self) -> Result<Vec<Tensor>> {
        let logits = |images: Result<Tensor>| {
            let logits = self.original.frozen.forward_t(&images?, false)?.detach();
            log_softmax(&logits, D::Minus1)
        };
        self.images()?.map(logits).collect()
    }

    /// The mean Kullback-Leibler divergence of `variant`'s logits from the original's, with new
    /// statistics of its batch norms.
    fn divergence(&self, variant: &Variant, original: &[Tensor]) -> Result<f64> {
        variant.recalibrate(self.images()?)?;
        let (mut sum, mut count) = (0.0, 0);
        for (images, old) in self.images()?.zip(original) {
            let new = log_softmax(
                &variant.frozen.forward_t(&images?, false)?.detach(),
                D::Minus1,
            )?;
            let divergence = (old.exp()? * (old - new)?)?.sum_all()?;
            sum += f64::from(divergence.to_dtype(DType::F32)?.to_scalar::<f32>()?);
            count += old.dim(0)?;
        }
        Ok(sum / count.max(1) as f64)
    }
}

impl Free {
    /// What can be fitted at `site`, the best choice first: with an offset, then without, as zeros of a
    /// padding lack it.
    fn choices(site: &Site) -> Vec<Self> {
        let Site {
            producer, consumer, ..
        } = site;
        let free = Self {
            scale: producer.as_ref().is_some_and(|producer| !producer.residual),
            shift: producer.is_some(),
            gain: consumer.is_some(),
            // A norm removes an offset, a bias takes it, and where several layers take the output, the
            // means are corrected at the next activation.
            offset: consumer
                .as_ref()
                .is_none_or(|consumer| consumer.normalised || consumer.bias.is_some()),
        };
        match free {
            Self {
                shift: false,
                gain: false,
                ..
            } => Vec::new(),
            Self { offset: true, .. } if site.padded > 0.0 => {
                let without = Self {
                    offset: false,
                    ..free
                };
                vec![free, without]
            }
            _ => vec![free],
        }
    }
}

/// The fit of each channel, or nothing if the activation is the original's or has learned parameters.
fn fits(site: &Site, original: &OriginalActivation, free: Free) -> Option<Vec<Affine>> {
    let (own, wanted) = (site.activation?, original.function?);
    let fit_channel = |inputs: &Vec<f64>| {
        let pairs: Vec<(f64, f64)> = inputs.iter().map(|x| (*x, wanted.value(*x))).collect();
        fit(&own, &pairs, free, site.padded)
    };
    (own != wanted).then(|| original.samples.par_iter().map(fit_channel).collect())
}

/// The best parameters for pairs of an input and the wanted output. The zeros of a padding, a share
/// `padded` of all outputs, lack the offset.
fn fit(activation: &Activation, pairs: &[(f64, f64)], free: Free, padded: f64) -> Affine {
    let chosen = [free.scale, free.shift, free.gain, free.offset];
    let of = |parameters: &[f64]| {
        let mut parameters = parameters.iter().copied();
        let mut next = |free: bool, value: f64| match free {
            true => parameters.next().unwrap_or(value),
            false => value,
        };
        Affine {
            scale: next(free.scale, IDENTITY.scale),
            shift: next(free.shift, IDENTITY.shift),
            gain: next(free.gain, IDENTITY.gain),
            offset: next(free.offset, IDENTITY.offset),
        }
    };
    let start = [
        IDENTITY.scale,
        IDENTITY.shift,
        IDENTITY.gain,
        IDENTITY.offset,
    ];
    let start = start.iter().zip(chosen).filter(|(_, free)| *free);
    let start: Vec<f64> = start.map(|(value, _)| *value).collect();
    let padding = (pairs.len() as f64 * padded / (1.0 - padded)).sqrt();
    let residuals = |parameters: &[f64], out: &mut Vec<f64>| {
        let affine = of(parameters);
        let value = |x: f64| affine.gain * activation.value(affine.before(x)) + affine.offset;
        out.extend(pairs.iter().map(|(x, wanted)| value(*x) - wanted));
        out.push(padding * affine.offset);
        SCALES.contains(&affine.scale) && SCALES.contains(&affine.gain)
    };
    of(&least_squares(&start, &residuals))
}

/// Makes the scales and shifts part of the layer before the activation.
fn fold_before(tensors: &Tensors, producer: &Producer, fits: &[Affine]) -> Result<()> {
    let Producer { weight, bias, .. } = producer;
    let (mut weights, mut biases) = (tensors.read(weight)?, tensors.read(bias)?);
    if biases.len() != fits.len() || !weights.len().is_multiple_of(fits.len()) {
        return Ok(());
    }
    let taps = weights.len() / fits.len();
    for (channel, fit) in fits.iter().enumerate() {
        for value in &mut weights[channel * taps..][..taps] {
            *value *= fit.scale;
        }
        biases[channel] = biases[channel] * fit.scale + fit.shift;
    }
    tensors.write(weight, &weights)?;
    tensors.write(bias, &biases)
}

/// Makes the gains part of a weight, and the offsets part of a bias. A norm after the layer removes
/// offsets itself.
fn fold_after(tensors: &Tensors, consumer: &Consumer, fits: &[Affine]) -> Result<()> {
    let weight = tensors.get(&consumer.weight)?;
    let &[outputs, inputs, ref kernel @ ..] = weight.dims() else {
        return Ok(());
    };
    let taps: usize = kernel.iter().product();
    let mut values = tensors.read(&consumer.weight)?;
    let mut offsets = vec![0.0; outputs];
    for (output, offset) in offsets.iter_mut().enumerate() {
        let group = output / (outputs / consumer.groups).max(1);
        for input in 0..inputs {
            let Some(fit) = fits.get(group * inputs + input) else {
                return Ok(());
            };
            for value in &mut values[(output * inputs + input) * taps..][..taps] {
                *offset += *value * fit.offset;
                *value *= fit.gain;
            }
        }
    }
    tensors.write(&consumer.weight, &values)?;
    match &consumer.bias {
        Some(bias) if !consumer.normalised => {
            let shifted = tensors.read(bias)?.into_iter().zip(offsets);
            let shifted: Vec<f64> = shifted.map(|(bias, offset)| bias + offset).collect();
            tensors.write(bias, &shifted)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Free = Free {
        scale: true,
        shift: true,
        gain: true,
        offset: true,
    };

    #[test]
    fn a_known_change_is_found_and_nothing_else_changes() {
        let wanted = Affine {
            scale: 1.3,
            shift: -0.2,
            gain: 0.8,
            offset: 0.1,
        };
        let mish = Activation::Mish;
        let inputs = (-50..50).map(|i| f64::from(i) / 20.0);
        let pairs: Vec<(f64, f64)> = inputs
            .map(|x| {
                (
                    x,
                    wanted.gain * mish.value(wanted.scale * x + wanted.shift) + wanted.offset,
                )
            })
            .collect();
        let found = fit(&mish, &pairs, ALL, 0.0);
        for (found, wanted) in [
            (found.scale, wanted.scale),
            (found.shift, wanted.shift),
            (found.gain, wanted.gain),
            (found.offset, wanted.offset),
        ] {
            assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
        }
        let shift_only = Free {
            scale: false,
            gain: false,
            offset: false,
            ..ALL
        };
        let found = fit(&mish, &pairs, shift_only, 0.0);
        assert_eq!((found.scale, found.gain, found.offset), (1.0, 1.0, 0.0));
        assert_ne!(found.shift, 0.0);
        // The activation itself needs no change.
        let same: Vec<(f64, f64)> = pairs.iter().map(|(x, _)| (*x, mish.value(*x))).collect();
        assert_eq!(fit(&mish, &same, ALL, 0.1), IDENTITY);
        // Offsets cost more, the more of the input is padding.
        let offset = |padded| fit(&Activation::Relu, &same, ALL, padded).offset.abs();
        assert!(offset(0.0) > 0.05 && offset(0.3) < offset(0.0));
    }
}
