//! A scale and a shift of each channel before and after an activation.

use candle_core::Result;

use super::channels::Planes;
use super::corrector::{Corrector, Tensors};
use super::fit::least_squares;
use super::sites::{Consumer, Producer, Site};
use crate::activation::Activation;
use crate::nn::{ObservedLayer, input_of};
use crate::swap::variant::Variant;

/// Samples of a channel that the fit uses: enough for four parameters.
const SAMPLES: usize = 1024;
/// The range of a scale. Outside of it, the fit describes noise.
const SCALES: std::ops::RangeInclusive<f64> = 0.25..=4.0;

/// gain f(scale x + shift) + offset, in place of f(x).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Affine {
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

/// The parameters that the layers around the activation can take.
#[derive(Debug, Clone, Copy)]
struct Free {
    scale: bool,
    shift: bool,
    gain: bool,
    offset: bool,
}

impl Corrector<'_> {
    /// Fits the activation `site` of `variant` to the activation `old` of the original, and changes the
    /// layers around it.
    pub(super) fn scale_and_shift(
        &self,
        variant: &Variant,
        tensors: &Tensors,
        old: &Site,
        site: &Site,
    ) -> Result<()> {
        let (Some(wanted), Some(own)) = (old.activation, site.activation) else {
            return Ok(());
        };
        let Site {
            producer, consumer, ..
        } = site;
        let free = Free {
            scale: producer.as_ref().is_some_and(|producer| !producer.residual),
            shift: producer.is_some(),
            gain: consumer.is_some(),
            // Padding would lack the offset, and the border of the image with it.
            offset: consumer.as_ref().is_some_and(|consumer| {
                consumer.linear && (consumer.normalised || consumer.bias.is_some())
            }),
        };
        if !(free.shift || free.gain) {
            return Ok(());
        }
        let samples = self.samples(variant, &site.path)?;
        let fits: Vec<Affine> = samples
            .iter()
            .map(|pairs| {
                let target = |(old, new): &(f64, f64)| (*new, wanted.value(*old));
                let pairs: Vec<(f64, f64)> = pairs.iter().map(target).collect();
                fit(&own, &pairs, free)
            })
            .collect();
        if let Some(producer) = producer {
            fold_before(tensors, producer, &fits)?;
        }
        match consumer {
            Some(consumer) => fold_after(tensors, consumer, &fits),
            None => Ok(()),
        }
    }

    /// Inputs of the activation at `path` in the original and in `variant`, for each channel.
    fn samples(&self, variant: &Variant, path: &str) -> Result<Vec<Vec<(f64, f64)>>> {
        let of_batch = SAMPLES.div_ceil(self.batches.max(1));
        let mut samples: Vec<Vec<(f64, f64)>> = Vec::new();
        for images in self.images()? {
            let images = images?;
            let input = |network: &Variant| {
                let forward = || network.frozen.forward_t(&images, false);
                Planes::of(&input_of(ObservedLayer::Activation, path, forward)?)
            };
            let (old, new) = (input(self.original)?, input(variant)?);
            samples.resize(new.channels, Vec::new());
            let total = new.images * new.size;
            for (channel, pairs) in samples.iter_mut().enumerate() {
                // Spread over the batch, at other pixels in each image.
                let step = (total / of_batch).max(1);
                for position in (0..total).step_by(step) {
                    let (image, pixel) = (position / new.size, position % new.size);
                    let (old, new) = (old.plane(image, channel), new.plane(image, channel));
                    pairs.push((old[pixel], new[pixel]));
                }
            }
        }
        Ok(samples)
    }
}

/// The best parameters for pairs of an input and the wanted output.
fn fit(activation: &Activation, pairs: &[(f64, f64)], free: Free) -> Affine {
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
    let residuals = |parameters: &[f64], out: &mut Vec<f64>| {
        let Affine {
            scale,
            shift,
            gain,
            offset,
        } = of(parameters);
        out.extend(
            pairs
                .iter()
                .map(|(x, wanted)| gain * activation.value(scale * x + shift) + offset - wanted),
        );
        SCALES.contains(&scale) && SCALES.contains(&gain)
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
        Some(bias) if consumer.linear && !consumer.normalised => {
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
        let found = fit(&mish, &pairs, ALL);
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
        let found = fit(&mish, &pairs, shift_only);
        assert_eq!((found.scale, found.gain, found.offset), (1.0, 1.0, 0.0));
        assert_ne!(found.shift, 0.0);
        // The activation itself needs no change.
        let same: Vec<(f64, f64)> = pairs.iter().map(|(x, _)| (*x, mish.value(*x))).collect();
        assert_eq!(fit(&mish, &same, ALL), IDENTITY);
    }
}
