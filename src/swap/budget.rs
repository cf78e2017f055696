//! The search for the layers that can have another activation at a given loss of accuracy.

use candle_core::Result;

use super::logits::Logits;
use super::options::Budget;
use super::report::{BudgetSearch, BudgetStep};
use super::study::Study;
use super::variant::{Replacement, Variant};
use crate::activation::Activation;
use crate::data::Loader;
use crate::eval::{Comparison, Estimate};

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
        let mut swapped: Vec<String> = Vec::new();
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
                    swapped.len() + 1
                ));
                let mut layers = swapped.clone();
                layers.push(layer.clone());
                let variant = self.with_layers(to, layers, budget)?;
                let comparison = compare(&variant, &images, &baseline, self)?;
                found.evaluations += 1;
                let closer = best
                    .as_ref()
                    .is_none_or(|(_, best)| distance(&comparison) < distance(best));
                if closer {
                    best = Some((index, comparison));
                }
            }
            let Some((index, comparison)) = best else {
                break;
            };
            let layer = left.remove(index);
            let change = comparison.change.top1;
            swapped.push(layer.clone());
            found.curve.push(BudgetStep {
                layer,
                comparison,
                smoothed: change.value,
            });
            if certainly_exceeds(&change, budget.points) {
                break;
            }
        }
        let changes = found
            .curve
            .iter()
            .map(|step| step.comparison.change.top1.value);
        let smoothed = non_increasing(changes);
        for (step, smoothed) in found.curve.iter_mut().zip(&smoothed) {
            step.smoothed = *smoothed;
        }
        let within = smoothed
            .iter()
            .take_while(|change| -100.0 * **change <= budget.points);
        swapped.truncate(within.count());
        let chosen = swapped;
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

/// The divergence from the original network. A network whose outputs are not finite is the furthest.
fn distance(comparison: &Comparison) -> f64 {
    let divergence = comparison.divergence.value;
    if divergence.is_nan() {
        return f64::INFINITY;
    }
    divergence
}

/// Whether the loss exceeds the budget even at the end of its interval.
fn certainly_exceeds(change: &Estimate, points: f64) -> bool {
    -100.0 * change.high > points
}

/// The nearest sequence by least squares that never increases: isotonic regression by pooling adjacent
/// violators (Ayer et al., 1955).
fn non_increasing(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let mean = |(sum, count): (f64, usize)| sum / count as f64;
    for value in values {
        let mut last = (value, 1);
        while let Some(before) = blocks.pop_if(|before| mean(*before) < mean(last)) {
            last = (before.0 + last.0, before.1 + last.1);
        }
        blocks.push(last);
    }
    let repeated = blocks
        .into_iter()
        .flat_map(|block| std::iter::repeat_n(mean(block), block.1));
    repeated.collect()
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

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn noise_is_averaged_and_doubt_continues_the_search() {
        let smoothed = |values: &[f64]| non_increasing(values.iter().copied());
        assert!(smoothed(&[]).is_empty());
        assert_eq!(smoothed(&[-1.0, -2.0, -2.0]), [-1.0, -2.0, -2.0]);
        assert_eq!(smoothed(&[-3.0, 0.0, 1.5]), [-0.5; 3]);
        // scipy.optimize.isotonic_regression(increasing=False).
        assert_eq!(
            smoothed(&[1.0, 0.0, 2.0, -1.0, -3.0, -2.0]),
            [1.0, 1.0, 1.0, -1.0, -2.5, -2.5]
        );
        let change = |value: f64| Estimate {
            value,
            low: value - 0.01,
            high: value + 0.01,
        };
        assert!(!certainly_exceeds(&change(-0.014), 0.5));
        assert!(certainly_exceeds(&change(-0.016), 0.5));
    }

    #[test]
    fn a_network_of_nan_is_the_furthest() -> Result<()> {
        let original = Tensor::new(&[[2f32, 1.0], [0.0, 3.0]], &Device::Cpu)?;
        let to = |logits: [[f32; 2]; 2]| {
            let logits = Tensor::new(&logits, &Device::Cpu)?;
            Ok::<_, candle_core::Error>(distance(&Comparison::new(&original, &logits, &[1, 1])?))
        };
        let (near, far) = (
            to([[2.0, 1.5], [0.0, 3.0]])?,
            to([[-9.0, 9.0], [9.0, -9.0]])?,
        );
        assert!(0.0 < near && near < far, "{near} {far}");
        assert_eq!(to([[f32::NAN, 1.0], [0.0, 3.0]])?, f64::INFINITY);
        Ok(())
    }
}
