//! The activations of the original network and their inputs, by channel.

use std::collections::HashMap;

use candle_core::Result;

use super::channels::{Moments, Planes};
use super::corrector::Corrector;
use super::sites::{Part, parts};
use crate::activation::Activation;
use crate::nn::map_pre_activations;

/// Samples of a channel: enough for a fit of four parameters.
const SAMPLES: usize = 1024;

/// An activation of the original network with its inputs over the images of the correction.
#[derive(Default)]
pub struct OriginalActivation {
    /// The function, unless it has learned parameters.
    pub function: Option<Activation>,
    moments: Moments,
    /// Some of the inputs of each channel.
    pub samples: Vec<Vec<f64>>,
}

impl OriginalActivation {
    /// The mean of the inputs of each channel.
    pub fn means(&self) -> Vec<f64> {
        self.moments.means()
    }

    /// Adds a batch, with about `count` samples of each channel.
    fn add(&mut self, inputs: &Planes, count: usize) {
        self.moments.add_planes(inputs);
        self.samples.resize(inputs.channels, Vec::new());
        let total = inputs.images * inputs.size;
        for (channel, samples) in self.samples.iter_mut().enumerate() {
            // Spread over the batch, at other pixels in each image.
            for position in (0..total).step_by((total / count).max(1)) {
                let (image, pixel) = (position / inputs.size, position % inputs.size);
                samples.push(inputs.plane(image, channel)[pixel]);
            }
        }
    }
}

impl Corrector<'_> {
    /// The activations by their paths, measured in one pass over the images. Layers that the network
    /// applies several times are left out.
    pub(super) fn original_activations(&self) -> Result<HashMap<String, OriginalActivation>> {
        let mut found: HashMap<String, OriginalActivation> = HashMap::new();
        for part in parts(self.original, &self.image()?)? {
            if let Part::Activation(site) = part {
                found.entry(site.path).or_default().function = site.activation;
            }
        }
        let of_batch = SAMPLES.div_ceil(self.batches.max(1));
        for images in self.images()? {
            let images = images?;
            let forward = || self.original.frozen.forward_t(&images, false);
            for (path, inputs) in map_pre_activations(Planes::of, forward)?.1 {
                if let Some(activation) = found.get_mut(&path) {
                    activation.add(&inputs, of_batch);
                }
            }
        }
        Ok(found)
    }
}
