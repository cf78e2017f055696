//! The corrections of a network, part by part.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use candle_core::{Result, Tensor, Var, bail};
use serde::Serialize;

use super::channels;
use super::sites::{Part, parts};
use crate::data::Loader;
use crate::swap::logits::first_batches;
use crate::swap::report::Stage;
use crate::swap::variant::Variant;

/// A correction without training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Batch-norm statistics, re-estimated layer by layer.
    LayerWise,
    /// As [`Correction::LayerWise`], and biases that give the inputs of the activations and the logits
    /// the means that they have in the original (Nagel et al., "Data-Free Quantization Through Weight
    /// Equalization and Bias Correction", 2019, section 4.2, with measured means).
    Bias,
    /// As [`Correction::LayerWise`], and a scale and a shift of each channel before and after the
    /// activation, fitted to the outputs of the original's activation by least squares. They become
    /// part of the norm, convolution or linear layer before the activation, and of the convolution or
    /// linear layer after it.
    ScaleShift,
    /// The constants of a parametric activation, fitted for each layer to the original's activation by
    /// least squares on the original's inputs. Batch-norm statistics are then recalibrated.
    Constants,
}

impl Correction {
    /// The stage of a network after the correction.
    pub(in crate::swap) fn stage(self) -> Stage {
        match self {
            Self::LayerWise => Stage::LayerWise,
            Self::Bias => Stage::BiasCorrected,
            Self::ScaleShift => Stage::ScaleShift,
            Self::Constants => Stage::FittedConstants,
        }
    }
}

/// The original network and the images that corrections measure it on.
pub struct Corrector<'a> {
    pub original: &'a Variant,
    pub loader: &'a Loader,
    pub batches: usize,
    pub stop: &'a AtomicBool,
}

impl Corrector<'_> {
    /// Corrects the weights and the statistics of `variant`, which has those of the original.
    pub fn apply(&self, correction: Correction, variant: &Variant) -> Result<()> {
        let tensors = Tensors::of(variant);
        let image = self.image()?;
        let own = parts(variant, &image)?;
        let original = parts(self.original, &image)?;
        for part in &own {
            match (part, correction) {
                (Part::Norm(path), _) => self.reestimate(variant, &tensors, path)?,
                (Part::Activation(site), Correction::Bias) => {
                    self.shift_means(variant, &tensors, site)?;
                }
                (Part::Activation(site), Correction::ScaleShift) => {
                    let same = |part: &&Part| matches!(part, Part::Activation(other) if other.path == site.path);
                    if let Some(Part::Activation(old)) = original.iter().find(same) {
                        self.scale_and_shift(variant, &tensors, old, site)?;
                    }
                }
                (Part::Activation(_), Correction::LayerWise | Correction::Constants) => {}
            }
        }
        if correction == Correction::Bias {
            self.shift_logits(variant, &tensors)?;
        }
        Ok(())
    }

    /// The images of the correction.
    pub fn images(&self) -> Result<impl Iterator<Item = Result<Tensor>> + '_> {
        first_batches(self.loader, self.batches, self.stop)
    }

    fn image(&self) -> Result<Tensor> {
        match first_batches(self.loader, 1, self.stop)?.next() {
            Some(images) => images?.narrow(0, 0, 1)?.force_contiguous(),
            None => bail!("there are no images for calibration"),
        }
    }
}

/// The parameters and statistics of a network by name.
pub struct Tensors(HashMap<String, Var>);

impl Tensors {
    fn of(variant: &Variant) -> Self {
        let store = &variant.store;
        Self(store.params().into_iter().chain(store.buffers()).collect())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn get(&self, name: &str) -> Result<&Var> {
        match self.0.get(name) {
            Some(var) => Ok(var),
            None => bail!("the network has no tensor {name}"),
        }
    }

    /// The values of a tensor, in double precision.
    pub fn read(&self, name: &str) -> Result<Vec<f64>> {
        channels::values(&self.get(name)?.as_detached_tensor())
    }

    pub fn write(&self, name: &str, values: &[f64]) -> Result<()> {
        let var = self.get(name)?;
        let values = Tensor::from_slice(values, var.shape(), &candle_core::Device::Cpu)?;
        var.set(&values.to_dtype(var.dtype())?.to_device(var.device())?)
    }
}
