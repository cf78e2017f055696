//! Swaps of one part of a network at a time.

use candle_core::Result;

use super::logits::Logits;
use super::parts::parts;
use super::report::LayerRow;
use super::study::Study;
use super::variant::{Replacement, Variant};
use crate::eval::Comparison;

impl Study<'_> {
    /// Swaps each activation in one stage and one layer at a time.
    pub(super) fn layer_by_layer(&mut self, original: &Variant) -> Result<()> {
        let options = self.options;
        let test = self.data.test.sample(options.layer_images, options.seed);
        let baseline = Logits::of(&*original.frozen, &test, self.stop)?;
        let parts = parts(&self.activation_layers(original)?);
        for to in &options.to {
            let result = parts.iter().try_for_each(|layers| {
                (self.progress)(&format!("{to}: {layers} alone"));
                let variant = (self.build)(Some(&Replacement {
                    layers: vec![layers.clone()],
                    ..Replacement::new(*to)
                }))?;
                let logits = Logits::of(&*variant.frozen, &test, self.stop)?.logits;
                let comparison = Comparison::new(&baseline.logits, &logits, &baseline.labels)?;
                self.report.layers.push(LayerRow {
                    activation: to.to_string(),
                    layers: layers.clone(),
                    comparison,
                });
                Ok(())
            });
            self.keep(to, result)?;
        }
        Ok(())
    }
}
