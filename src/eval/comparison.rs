//! A changed network compared with the original, by the logits of each image.

use candle_core::{DType, Result, Tensor, bail};
use serde::Serialize;

use super::calibration::Calibration;
use super::estimate::Estimate;
use super::metrics::{cross_entropy, log_softmax, rank};

/// The figures of a network on labelled images, and its distance from the original.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Comparison {
    /// The number of images.
    pub images: usize,
    /// The fraction of images whose class has the highest logit.
    pub top1: Estimate,
    /// The fraction of images whose class is among the five highest logits.
    pub top5: Estimate,
    /// The mean cross-entropy.
    pub loss: Estimate,
    /// The expected calibration error: the mean distance between confidence and accuracy, over
    /// 15 bins of the confidence.
    pub calibration_error: Estimate,
    /// The fraction of images that the original gives the same class.
    pub agreement: Estimate,
    /// KL(p ‖ q), the mean of Σ p (ln p - ln q) with the original's probabilities p and this
    /// network's q, in nats.
    pub divergence: Estimate,
    /// The Euclidean norm of the difference of the logits from the original's, over all images,
    /// relative to the norm of the original's.
    pub logit_error: Estimate,
    /// The change from the original to this network.
    pub change: Change,
}

/// The change between two networks on the same images. It is computed from the differences of each
/// image (paired), so that the difficulty of the images does not widen the intervals.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Change {
    /// The change of top-1.
    pub top1: Estimate,
    /// The change of the mean cross-entropy.
    pub loss: Estimate,
}

/// The result of a network on an image.
struct Outcome {
    top1: bool,
    top5: bool,
    loss: f64,
    /// The highest probability of a class.
    confidence: f64,
}

impl Outcome {
    fn new(logits: &[f32], label: u32) -> Result<Self> {
        let label = label as usize;
        let Some(rank) = rank(logits, label) else {
            bail!("label {label}, but there are {} classes", logits.len())
        };
        // Unlike `f64::max`, it keeps NaN: a network without probabilities is not well calibrated.
        let highest = log_softmax(logits)
            .into_iter()
            .fold(f64::NEG_INFINITY, |highest, x| {
                if x > highest || x.is_nan() {
                    x
                } else {
                    highest
                }
            });
        Ok(Self {
            top1: rank == 0,
            top5: rank < 5,
            loss: cross_entropy(logits, label),
            confidence: highest.exp(),
        })
    }

    fn of(logits: &[Vec<f32>], labels: &[u32]) -> Result<Vec<Self>> {
        let pairs = logits.iter().zip(labels);
        pairs.map(|(row, label)| Self::new(row, *label)).collect()
    }
}

/// The distance of the logits of an image from the original's.
struct Distance {
    agrees: bool,
    divergence: f64,
    /// The squared norms of the difference of the logits and of the original's logits.
    squares: (f64, f64),
}

impl Distance {
    fn new(old: &[f32], new: &[f32]) -> Self {
        let square = |x: f32| f64::from(x).powi(2);
        let (old_log, new_log) = (log_softmax(old), log_softmax(new));
        let divergence = old_log.iter().zip(&new_log);
        let differences = old.iter().zip(new).map(|(old, new)| square(new - old));
        Self {
            agrees: highest(old).is_some_and(|class| highest(new) == Some(class)),
            divergence: divergence.map(|(p, q)| p.exp() * (p - q)).sum(),
            squares: (differences.sum(), old.iter().map(|x| square(*x)).sum()),
        }
    }
}

impl Comparison {
    /// Compares the logits `[N, classes]` of a network with the `original`'s. `labels` has N entries.
    ///
    /// # Errors
    /// If the shapes differ or a label is not below the number of classes.
    pub fn new(original: &Tensor, logits: &Tensor, labels: &[u32]) -> Result<Self> {
        let (original, logits) = rows(original, logits, labels)?;
        let outcomes = Outcome::of(&logits, labels)?;
        let pairs = original.iter().zip(&logits);
        let distances: Vec<Distance> = pairs.map(|(old, new)| Distance::new(old, new)).collect();
        let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|o| is(o)).count();
        let share = |is| Estimate::proportion(count(is), outcomes.len());
        let losses: Vec<f64> = outcomes.iter().map(|outcome| outcome.loss).collect();
        let divergences: Vec<f64> = distances.iter().map(|d| d.divergence).collect();
        let agreeing = distances.iter().filter(|d| d.agrees).count();
        Ok(Self {
            images: outcomes.len(),
            top1: share(|outcome| outcome.top1),
            top5: share(|outcome| outcome.top5),
            loss: Estimate::mean(&losses),
            calibration_error: Estimate::bootstrap(outcomes.len(), |sample| {
                calibration_error(sample.iter().map(|i| &outcomes[*i]))
            }),
            agreement: Estimate::proportion(agreeing, distances.len()),
            divergence: Estimate::mean(&divergences),
            logit_error: Estimate::bootstrap(distances.len(), |sample| {
                let squares = sample.iter().map(|i| distances[*i].squares);
                let (difference, size) = squares.fold((0.0, 0.0), |sum, square| {
                    (sum.0 + square.0, sum.1 + square.1)
                });
                (difference / size).sqrt()
            }),
            change: Change::between(&Outcome::of(&original, labels)?, &outcomes),
        })
    }
}

impl Change {
    /// The change between the logits `[N, classes]` of two networks. `labels` has N entries.
    ///
    /// # Errors
    /// As [`Comparison::new`].
    pub fn new(from: &Tensor, to: &Tensor, labels: &[u32]) -> Result<Self> {
        let (from, to) = rows(from, to, labels)?;
        let (from, to) = (Outcome::of(&from, labels)?, Outcome::of(&to, labels)?);
        Ok(Self::between(&from, &to))
    }

    fn between(from: &[Outcome], to: &[Outcome]) -> Self {
        let pairs = || from.iter().zip(to);
        let losses: Vec<f64> = pairs().map(|(from, to)| to.loss - from.loss).collect();
        Self {
            top1: Estimate::paired_proportions(pairs().map(|(from, to)| (from.top1, to.top1))),
            loss: Estimate::mean(&losses),
        }
    }
}

/// The logits of each image from two networks.
type Rows = (Vec<Vec<f32>>, Vec<Vec<f32>>);

fn rows(original: &Tensor, logits: &Tensor, labels: &[u32]) -> Result<Rows> {
    if original.dims() != logits.dims() || original.dims().first() != Some(&labels.len()) {
        bail!(
            "comparison: {:?} original logits, {:?} logits, {} labels",
            original.dims(),
            logits.dims(),
            labels.len()
        );
    }
    let rows = |x: &Tensor| x.detach().to_dtype(DType::F32)?.to_vec2::<f32>();
    Ok((rows(original)?, rows(logits)?))
}

fn calibration_error<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> f64 {
    Calibration::new(outcomes.map(|outcome| (outcome.confidence, outcome.top1))).error()
}

/// The first class with the highest logit; none if a logit is NaN.
fn highest(logits: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return None;
        }
        if *logit > logits[best] {
            best = class;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }

    #[test]
    fn a_network_agrees_with_itself() -> Result<()> {
        let logits = Tensor::new(&[[2f32, 1.0, 0.0], [0.0, 3.0, 1.0]], &Device::Cpu)?;
        let same = Comparison::new(&logits, &logits, &[0, 2])?;
        assert_eq!((same.top1.value, same.agreement.value), (0.5, 1.0));
        assert_eq!((same.logit_error.value, same.divergence.value), (0.0, 0.0));
        assert_eq!(same.change.loss, Estimate::default());
        let Estimate { value, low, high } = same.change.top1;
        assert!(value == 0.0 && low < 0.0 && high > 0.0);
        assert!(Comparison::new(&logits, &logits, &[0]).is_err());
        assert!(Comparison::new(&logits, &logits, &[0, 3]).is_err());
        Ok(())
    }

    #[test]
    fn logits_of_nan_are_not_calibrated() -> Result<()> {
        let old = Tensor::new(&[[2f32, 1.0], [0.0, 3.0]], &Device::Cpu)?;
        let new = Tensor::new(&[[f32::NAN, 1.0], [0.0, 3.0]], &Device::Cpu)?;
        let comparison = Comparison::new(&old, &new, &[1, 1])?;
        assert!(comparison.calibration_error.value.is_nan());
        assert!(comparison.loss.value.is_nan());
        Ok(())
    }

    #[test]
    fn differences_equal_those_computed_by_hand() -> Result<()> {
        let ln = |p: f32| p.ln();
        let old = [[ln(0.8), ln(0.2)], [ln(0.4), ln(0.6)]];
        let new = [[ln(0.5), ln(0.5)], [ln(0.9), ln(0.1)]];
        let (old, new) = (
            Tensor::new(&old, &Device::Cpu)?,
            Tensor::new(&new, &Device::Cpu)?,
        );
        let found = Comparison::new(&old, &new, &[0, 0])?;
        close(found.top1.value, 1.0);
        close(found.agreement.value, 0.5);
        close(found.change.top1.value, 0.5);
        let (before, after) = (0.8f64.ln() + 0.4f64.ln(), 0.5f64.ln() + 0.9f64.ln());
        close(found.loss.value, -after / 2.0);
        close(found.change.loss.value, (before - after) / 2.0);
        assert_eq!(found.change, Change::new(&old, &new, &[0, 0])?);
        // Confidences 0.5 and 0.9, both correct.
        close(found.calibration_error.value, (0.5 + 0.1) / 2.0);
        let first = 0.8 * (0.8f64 / 0.5).ln() + 0.2 * (0.2f64 / 0.5).ln();
        let second = 0.4 * (0.4f64 / 0.9).ln() + 0.6 * (0.6f64 / 0.1).ln();
        close(found.divergence.value, (first + second) / 2.0);
        Ok(())
    }

    #[test]
    fn the_logit_error_is_a_quotient_of_norms() -> Result<()> {
        let old = Tensor::new(&[[3f32, 4.0], [0.0, 12.0]], &Device::Cpu)?;
        let new = Tensor::new(&[[3f32, 5.0], [2.0, 12.0]], &Device::Cpu)?;
        let found = Comparison::new(&old, &new, &[0, 1])?.logit_error;
        close(found.value, (5.0f64 / 169.0).sqrt());
        // The worst resample is the first image twice, the best one the second.
        assert!(found.low <= found.value && found.value <= found.high);
        assert!(found.high - found.low < (1.0f64 / 25.0).sqrt());
        Ok(())
    }

    #[test]
    fn a_network_with_nan_logits_agrees_with_none() -> Result<()> {
        let old = Tensor::new(&[[3f32, 1.0]], &Device::Cpu)?;
        let new = Tensor::new(&[[f32::NAN, f32::NAN]], &Device::Cpu)?;
        let found = Comparison::new(&old, &new, &[0])?;
        assert_eq!((found.top1.value, found.agreement.value), (0.0, 0.0));
        assert!(found.loss.value.is_nan());
        Ok(())
    }
}
