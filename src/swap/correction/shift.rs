//! Bias correction: means as in the original network.

use candle_core::Result;

use super::channels::Moments;
use super::corrector::{Corrector, Tensors};
use super::sites::Site;
use crate::nn::{ObservedLayer, input_of};
use crate::swap::variant::Variant;

impl Corrector<'_> {
    /// Changes the bias of the layer before an activation so that the mean of the activation's input is
    /// `wanted` in each channel.
    pub(super) fn shift_means(
        &self,
        variant: &Variant,
        tensors: &Tensors,
        site: &Site,
        wanted: &[f64],
    ) -> Result<()> {
        let Some(producer) = &site.producer else {
            return Ok(());
        };
        let mut moments = Moments::default();
        for images in self.images()? {
            let images = images?;
            let forward = || variant.frozen.forward_t(&images, false);
            moments.add(&input_of(ObservedLayer::Activation, &site.path, forward)?)?;
        }
        add_difference(tensors, &producer.bias, wanted, &moments.means())
    }

    /// Changes the bias of the classifier so that the mean of each logit equals the original's.
    pub(super) fn shift_logits(&self, variant: &Variant, tensors: &Tensors) -> Result<()> {
        let bias = format!("{}.bias", variant.head);
        let (mut old, mut new) = (Moments::default(), Moments::default());
        if !tensors.has(&bias) {
            return Ok(());
        }
        for images in self.images()? {
            let images = images?;
            old.add(&self.original.frozen.forward_t(&images, false)?)?;
            new.add(&variant.frozen.forward_t(&images, false)?)?;
        }
        add_difference(tensors, &bias, &old.means(), &new.means())
    }
}

/// Adds `wanted - found` to a bias with a value for each channel.
fn add_difference(tensors: &Tensors, bias: &str, wanted: &[f64], found: &[f64]) -> Result<()> {
    let values = tensors.read(bias)?;
    if values.len() != wanted.len() || values.len() != found.len() {
        return Ok(());
    }
    let shifted = values.iter().zip(wanted.iter().zip(found));
    let shifted: Vec<f64> = shifted
        .map(|(bias, (wanted, found))| bias + wanted - found)
        .collect();
    tensors.write(bias, &shifted)
}
