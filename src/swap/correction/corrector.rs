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
    /// As [`Correction::Bias`], and a scale and a shift of each channel before and after the activation,
    /// with which it is closest to the original's activation by least squares on the original's inputs.
    /// They become part of the norm, convolution or linear layer before the activation, and of the
    /// convolution or linear layer after it, if this brings the logits closer to the original's. The
    /// means before the activation are those that the fit expects.
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
    /// Corrects the weights and the statistics of `variant`, which has the original's.
    pub fn apply(&self, correction: Correction, variant: &Variant) -> Result<()> {
        let tensors = Tensors::of(variant);
        let parts = parts(variant, &self.image()?)?;
        let matches_means = matches!(correction, Correction::Bias | Correction::ScaleShift);
        let originals = match matches_means {
            true => self.original_activations()?,
            false => HashMap::new(),
        };
        let changes = match correction {
            Correction::ScaleShift => {
                self.scale_and_shift(variant, &tensors, &parts, &originals)?
            }
            _ => HashMap::new(),
        };
        for part in &parts {
            let site = match part {
                Part::Norm(path) => {
                    self.reestimate(variant, &tensors, path)?;
                    continue;
                }
                Part::Activation(site) => site,
            };
            let Some(original) = originals.get(&site.path) else {
                continue;
            };
            let mut means = original.means();
            for (mean, change) in means
                .iter_mut()
                .zip(changes.get(&site.path).into_iter().flatten())
            {
                *mean = change.before(*mean);
            }
            self.shift_means(variant, &tensors, site, &means)?;
        }
        if matches_means {
            self.shift_logits(variant, &tensors)?;
        }
        Ok(())
    }

    /// The images of the correction.
    pub fn images(&self) -> Result<impl Iterator<Item = Result<Tensor>> + '_> {
        first_batches(self.loader, self.batches, self.stop)
    }

    /// One of them.
    pub fn image(&self) -> Result<Tensor> {
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

    /// Copies of the tensors of these names.
    pub fn snapshot<'n>(&self, names: &[&'n str]) -> Result<Vec<(&'n str, Tensor)>> {
        let copy = |name: &&'n str| Ok((*name, self.get(name)?.as_detached_tensor().copy()?));
        names.iter().map(copy).collect()
    }

    /// Restores tensors to a snapshot.
    pub fn restore(&self, snapshot: &[(&str, Tensor)]) -> Result<()> {
        let mut copies = snapshot.iter();
        copies.try_for_each(|(name, copy)| self.get(name)?.set(copy))
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
