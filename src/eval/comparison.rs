//! A changed network beside the original: what each image's logits say.

use candle_core::{DType, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

use super::estimate::Estimate;
use super::{cross_entropy, rank};

/// Bins of the confidence in the calibration error (Guo et al., "On Calibration of Modern Neural
/// Networks", 2017, section 2).
const BINS: usize = 15;

/// How a network does on labelled images, and how far it is from the original.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Images seen.
    pub images: usize,
    /// The share of images whose class has the highest logit.
    pub top1: Estimate,
    /// The share of images whose class is among the five highest logits.
    pub top5: Estimate,
    /// The mean cross-entropy.
    pub loss: Estimate,
    /// The expected calibration error: the mean distance between confidence and accuracy, over
    /// 15 bins of the confidence.
    pub calibration_error: Estimate,
    /// The share of images to which the original gives the same class.
    pub agreement: Estimate,
    /// The mean Kullback-Leibler divergence of its probabilities from the original's, in nats.
    pub divergence: Estimate,
    /// The difference of the logits from the original's, relative to the original's, as Euclidean
    /// norms over all images.
    pub logit_error: f64,
    /// The change of top-1, with the interval of the paired difference.
    pub top1_change: Estimate,
}

/// What is kept of an image.
struct Fact {
    top1: bool,
    top5: bool,
    loss: f64,
    confidence: f64,
    agrees: bool,
    divergence: f64,
    original_top1: bool,
}

impl Comparison {
    /// Compares the logits [N, classes] of a network with the original's for images with these
    /// labels.
    ///
    /// # Errors
    /// If the shapes differ or a label is not below the number of classes.
    pub fn new(original: &Tensor, logits: &Tensor, labels: &[u32]) -> Result<Self> {
        if original.dims() != logits.dims() || original.dims().first() != Some(&labels.len()) {
            bail!(
                "comparison: {:?} original logits, {:?} logits, {} labels",
                original.dims(),
                logits.dims(),
                labels.len()
            );
        }
        let rows = |x: &Tensor| x.detach().to_dtype(DType::F32)?.to_vec2::<f32>();
        let (original, logits) = (rows(original)?, rows(logits)?);
        let (mut difference, mut size) = (0.0, 0.0);
        let mut facts = Vec::with_capacity(labels.len());
        for ((old, new), label) in original.iter().zip(&logits).zip(labels) {
            let label = *label as usize;
            let (Some(old_rank), Some(new_rank)) = (rank(old, label), rank(new, label)) else {
                bail!("label {label}, but there are {} classes", new.len())
            };
            for (old, new) in old.iter().zip(new) {
                difference += f64::from(new - old).powi(2);
                size += f64::from(*old).powi(2);
            }
            let (old_log, new_log) = (log_softmax(old), log_softmax(new));
            let divergence = old_log.iter().zip(&new_log);
            facts.push(Fact {
                top1: new_rank == 0,
                top5: new_rank < 5,
                loss: cross_entropy(new, label),
                confidence: new_log
                    .iter()
                    .copied()
                    .fold(f64::NEG_INFINITY, f64::max)
                    .exp(),
                agrees: highest(old) == highest(new),
                divergence: divergence.map(|(p, q)| p.exp() * (p - q)).sum(),
                original_top1: old_rank == 0,
            });
        }
        let count = |is: fn(&Fact) -> bool| facts.iter().filter(|fact| is(fact)).count();
        let proportion = |is| Estimate::proportion(count(is), facts.len());
        let of = |value: fn(&Fact) -> f64| facts.iter().map(value).collect::<Vec<_>>();
        let change = |fact: &Fact| f64::from(fact.top1) - f64::from(fact.original_top1);
        Ok(Self {
            images: facts.len(),
            top1: proportion(|fact| fact.top1),
            top5: proportion(|fact| fact.top5),
            loss: Estimate::mean(&of(|fact| fact.loss)),
            calibration_error: Estimate::bootstrap(facts.len(), |sample| {
                calibration_error(sample.iter().map(|i| &facts[*i]))
            }),
            agreement: proportion(|fact| fact.agrees),
            divergence: Estimate::mean(&of(|fact| fact.divergence)),
            logit_error: (difference / size).sqrt(),
            top1_change: Estimate::mean(&of(change)),
        })
    }
}

fn calibration_error<'a>(facts: impl Iterator<Item = &'a Fact>) -> f64 {
    let mut bins = [(0.0, 0.0); BINS];
    let mut images = 0.0;
    for fact in facts {
        let bin = ((fact.confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += fact.confidence;
        bins[bin].1 += f64::from(fact.top1);
        images += 1.0;
    }
    let distance = |(confidence, correct): (f64, f64)| (confidence - correct).abs();
    bins.into_iter().map(distance).sum::<f64>() / f64::max(images, 1.0)
}

/// The first class of the highest logit.
fn highest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|l| (f64::from(*l) - highest).exp()).sum();
    let shift = highest + sum.ln();
    logits.iter().map(|l| f64::from(*l) - shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_network_beside_itself_agrees() -> Result<()> {
        let logits = Tensor::new(&[[2f32, 1.0, 0.0], [0.0, 3.0, 1.0]], &Device::Cpu)?;
        let same = Comparison::new(&logits, &logits, &[0, 2])?;
        assert_eq!((same.top1.value, same.agreement.value), (0.5, 1.0));
        assert_eq!((same.logit_error, same.divergence.value), (0.0, 0.0));
        assert_eq!(same.top1_change.value, 0.0);
        assert!(Comparison::new(&logits, &logits, &[0]).is_err());
        assert!(Comparison::new(&logits, &logits, &[0, 3]).is_err());
        Ok(())
    }

    #[test]
    fn differences_are_those_counted_by_hand() -> Result<()> {
        let ln = |p: f32| p.ln();
        let old = [[ln(0.8), ln(0.2)], [ln(0.4), ln(0.6)]];
        let new = [[ln(0.5), ln(0.5)], [ln(0.9), ln(0.1)]];
        let (old, new) = (
            Tensor::new(&old, &Device::Cpu)?,
            Tensor::new(&new, &Device::Cpu)?,
        );
        let found = Comparison::new(&old, &new, &[0, 0])?;
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-6, "{got} {want}");
        close(found.top1.value, 1.0);
        close(found.agreement.value, 0.5);
        close(found.top1_change.value, 0.5);
        close(found.loss.value, -(0.5f64.ln() + 0.9f64.ln()) / 2.0);
        // Confidences 0.5 and 0.9, both right.
        close(found.calibration_error.value, (0.5 + 0.1) / 2.0);
        let first = 0.8 * (0.8f64 / 0.5).ln() + 0.2 * (0.2f64 / 0.5).ln();
        let second = 0.4 * (0.4f64 / 0.9).ln() + 0.6 * (0.6f64 / 0.1).ln();
        close(found.divergence.value, (first + second) / 2.0);
        Ok(())
    }
}
