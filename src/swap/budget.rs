//! The search for the layers that can have another activation at a given loss of accuracy.

use candle_core::Result;

use super::logits::Logits;
use super::options::Budget;
use super::report::{BudgetSearch, BudgetStep};
use super::study::Study;
use super::variant::{Replacement, Variant};
use crate::activation::Activation;
use crate::data::Loader;
use crate::eval::Comparison;

impl Study<'_> {
    /// Searches the layers of `to` within the budget.
    pub(super) fn search(
        &mut self,
        to: &Activation,
        original: &Variant,
        budget: &Budget,
    ) -> Result<()> {
        let (images, held_out) = self.data.test.split(budget.images, self.options.seed);
        let baseline = Logits::of(&*original.frozen, &images, self.stop)?;
        let mut left = self.activation_layers(original)?;
        let total = left.len();
        let mut chosen: Vec<String> = Vec::new();
        let mut found = BudgetSearch {
            activation: to.to_string(),
            points: budget.points,
            curve: Vec::new(),
            chosen: Vec::new(),
            held_out: None,
            evaluations: 0,
            file: None,
        };
        while !left.is_empty() {
            let mut best: Option<(usize, Comparison)> = None;
            for (index, layer) in left.iter().enumerate() {
                (self.progress)(&format!(
                    "{to}: budget, layer {} of {total}, {layer}",
                    chosen.len() + 1
                ));
                let mut layers = chosen.clone();
                layers.push(layer.clone());
                let variant = self.with_layers(to, layers, budget)?;
                let comparison = compare(&variant, &images, &baseline, self)?;
                found.evaluations += 1;
                let closer = best.as_ref().is_none_or(|(_, best)| {
                    let (own, best) = (comparison.divergence.value, best.divergence.value);
                    own.total_cmp(&best).is_lt()
                });
                if closer {
                    best = Some((index, comparison));
                }
            }
            let Some((index, comparison)) = best else {
                break;
            };
            let layer = left.remove(index);
            let within = -100.0 * comparison.change.top1.value <= budget.points;
            found.curve.push(BudgetStep {
                layer: layer.clone(),
                comparison,
            });
            if !within {
                break;
            }
            chosen.push(layer);
        }
        if !chosen.is_empty() {
            let variant = self.with_layers(to, chosen.clone(), budget)?;
            if !held_out.images().is_empty() {
                let baseline = Logits::of(&*original.frozen, &held_out, self.stop)?;
                found.held_out = Some(compare(&variant, &held_out, &baseline, self)?);
            }
            found.file = self.save(to, "within-budget", &chosen, &variant)?;
        }
        found.chosen = chosen;
        self.report.budgets.push(found);
        Ok(())
    }

    /// The network with `to` in `layers`, recalibrated.
    fn with_layers(
        &self,
        to: &Activation,
        layers: Vec<String>,
        budget: &Budget,
    ) -> Result<Variant> {
        let variant = (self.build)(Some(&Replacement {
            layers,
            ..Replacement::new(*to)
        }))?;
        if budget.recalibration_batches > 0 && !variant.store.buffers().is_empty() {
            self.recalibrate(&variant, budget.recalibration_batches)?;
        }
        Ok(variant)
    }
}

fn compare(
    variant: &Variant,
    images: &Loader,
    baseline: &Logits,
    study: &Study,
) -> Result<Comparison> {
    let logits = Logits::of(&*variant.frozen, images, study.stop)?.logits;
    Comparison::new(&baseline.logits, &logits, &baseline.labels)
}
