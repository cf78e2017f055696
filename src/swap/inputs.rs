//! The inputs of a network's activations: constants and approximations that fit them.

use candle_core::{DType, Result, Tensor};

use super::approximation::{LayerSamples, approximations};
use super::correction::fit_constants;
use super::logits::first_batches;
use super::study::Study;
use super::variant::{Replacement, Variant};
use crate::activation::{Activation, LayerActivations};
use crate::nn::map_pre_activations;

/// Samples of the inputs of each activation layer.
const SAMPLES: usize = 4096;

impl Study<'_> {
    /// Inputs of each activation layer of the original, spread over the images of the corrections.
    pub(super) fn samples(
        &mut self,
        original: &Variant,
        paths: &[String],
    ) -> Result<Vec<LayerSamples>> {
        (self.progress)("the inputs of the activations");
        let count = self.options.correction_batches.max(1);
        let of_batch = SAMPLES.div_ceil(count);
        let mut layers: Vec<LayerSamples> = Vec::new();
        for path in paths {
            layers.push(LayerSamples {
                path: path.clone(),
                inputs: Vec::new(),
            });
        }
        for images in first_batches(self.data.calibration, count, self.stop)? {
            let images = images?;
            let some = move |x: &Tensor| {
                let values = x
                    .detach()
                    .flatten_all()?
                    .to_dtype(DType::F32)?
                    .to_vec1::<f32>()?;
                let step = (values.len() / of_batch).max(1);
                Ok(values
                    .into_iter()
                    .step_by(step)
                    .map(f64::from)
                    .collect::<Vec<_>>())
            };
            let forward = || original.frozen.forward_t(&images, false);
            let (_, inputs) = map_pre_activations(some, forward)?;
            for (path, values) in inputs {
                let own = layers.iter_mut().find(|layer| layer.path == path);
                own.into_iter().for_each(|own| own.inputs.extend(&values));
            }
        }
        Ok(layers)
    }

    /// The network with constants of `to` that are fitted to each layer, recalibrated; `None` if there
    /// are no constants.
    pub(super) fn with_constants(
        &self,
        to: &Activation,
        samples: &[LayerSamples],
    ) -> Result<Option<Variant>> {
        let from = &self.options.from;
        let fit = |layer: &LayerSamples| {
            let fitted = fit_constants(to, from, &layer.inputs)?;
            Some((layer.path.clone(), fitted))
        };
        let fitted: Option<LayerActivations> = samples.iter().map(fit).collect();
        let Some(fitted) = fitted else {
            return Ok(None);
        };
        let variant = (self.build)(Some(&Replacement {
            fitted,
            ..self.options.replacement(to, None)
        }))?;
        let batches = self.options.recalibration_batches;
        if batches > 0 && !variant.store.buffers().is_empty() {
            self.recalibrate(&variant, batches)?;
        }
        Ok(Some(variant))
    }

    /// Measures functions in place of the network's activation.
    pub(super) fn approximate(&mut self, samples: &[LayerSamples]) {
        let options = self.options;
        let mut candidates: Vec<Activation> = Vec::new();
        let usual = [
            Activation::Relu,
            Activation::HardSwish,
            Activation::HardMish,
        ];
        for candidate in options.to.iter().chain(&usual) {
            if *candidate != options.from && !candidates.contains(candidate) {
                candidates.push(*candidate);
            }
        }
        let pieces = options.approximation_pieces;
        self.report.approximations = approximations(&options.from, &candidates, pieces, samples);
    }
}
