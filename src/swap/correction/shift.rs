//! Bias correction: means as in the original network.

use candle_core::Result;

use super::channels::Moments;
use super::corrector::{Corrector, Tensors};
use super::sites::Site;
use crate::nn::{ObservedLayer, input_of};
use crate::swap::variant::Variant;

impl Corrector<'_> {
    /// Changes the bias of the layer before an activation so that the mean of the activation's input is
    /// that of the original in each channel.
    pub(super) fn shift_means(
        &self,
        variant: &Variant,
        tensors: &Tensors,
        site: &Site,
    ) -> Result<()> {
        let Some(producer) = &site.producer else {
            return Ok(());
        };
        let (mut old, mut new) = (Moments::default(), Moments::default());
        for images in self.images()? {
            let images = images?;
            for (network, moments) in [(self.original, &mut old), (variant, &mut new)] {
                let forward = || network.frozen.forward_t(&images, false);
                moments.add(&input_of(ObservedLayer::Activation, &site.path, forward)?)?;
            }
        }
        add_difference(tensors, &producer.bias, &old, &new)
    }

    /// Changes the bias of the classifier so that the mean of each logit is that of the original.
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
        add_difference(tensors, &bias, &old, &new)
    }
}

/// Adds the difference of the means to a bias with a value for each channel.
fn add_difference(tensors: &Tensors, bias: &str, old: &Moments, new: &Moments) -> Result<()> {
    let values = tensors.read(bias)?;
    let (old, new) = (old.means(), new.means());
    if values.len() != old.len() {
        return Ok(());
    }
    let shifted = values.iter().zip(old.iter().zip(&new));
    let shifted: Vec<f64> = shifted.map(|(bias, (old, new))| bias + old - new).collect();
    tensors.write(bias, &shifted)
}
