//! Sums and gradients of weighted log-softmax values.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::ops::composed::constants;
use crate::ops::storage::{Float, PARALLEL_THRESHOLD, build, initialised};

/// The label or the probabilities of each row.
pub(super) enum Target {
    Classes(Vec<usize>),
    /// Row by row.
    Probabilities(Vec<f64>),
}

/// The coefficients `c` of the loss: row n has the loss sum over k of
/// `c[n][k] * -log_softmax(logits)[n][k]`. They combine labels, smoothing and class weights.
pub(super) struct Coefficients {
    target: Target,
    rows: usize,
    classes: usize,
    weights: Option<Vec<f64>>,
    smoothing: f64,
}

impl Coefficients {
    pub(super) fn new(
        target: Target,
        rows: usize,
        classes: usize,
        weights: Option<Vec<f64>>,
        smoothing: f64,
    ) -> Self {
        Self {
            target,
            rows,
            classes,
            weights,
            smoothing,
        }
    }

    fn weight(&self, class: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// The divisor of the mean: the sum of the labels' weights, or the number of rows with soft
    /// labels.
    pub(super) fn total_weight(&self) -> f64 {
        match &self.target {
            Target::Classes(labels) => labels.iter().map(|label| self.weight(*label)).sum(),
            Target::Probabilities(_) => self.rows as f64,
        }
    }

    /// Writes the coefficients of `row` to `c`.
    fn write(&self, row: usize, c: &mut [f64]) {
        let spread = self.smoothing / self.classes as f64;
        match &self.target {
            Target::Classes(labels) => {
                c.fill(spread);
                c[labels[row]] += 1.0 - self.smoothing;
            }
            Target::Probabilities(all) => {
                let probabilities = &all[row * self.classes..][..self.classes];
                for (c, p) in c.iter_mut().zip(probabilities) {
                    *c = p * (1.0 - self.smoothing) + spread;
                }
            }
        }
        if let Some(weights) = &self.weights {
            for (c, weight) in c.iter_mut().zip(weights) {
                *c *= weight;
            }
        }
    }

    /// The coefficients of all rows, in the type and on the device of `like`.
    pub(super) fn matrix(&self, like: &Tensor) -> Result<Tensor> {
        let mut values = vec![0.0; self.rows * self.classes];
        for (row, c) in values.chunks_exact_mut(self.classes.max(1)).enumerate() {
            self.write(row, c);
        }
        constants(values, (self.rows, self.classes), like)
    }

    /// The sum of the losses of all rows.
    pub(super) fn loss<T: Float>(&self, logits: &[T]) -> f64 {
        let row = |c: &mut Vec<f64>, (index, x): (usize, &[T])| {
            c.resize(self.classes, 0.0);
            self.write(index, c);
            let max = maximum(x);
            let sum: f64 = x.iter().map(|x| (*x - max).exp().to_f64()).sum();
            let log_sum = sum.ln();
            let max = max.to_f64();
            // A class with coefficient 0 adds nothing, even if its logit is minus infinity.
            let shares = c.iter().zip(x).filter(|(c, _)| **c != 0.0);
            shares
                .map(|(c, x)| c * (log_sum - (x.to_f64() - max)))
                .sum::<f64>()
        };
        // Collect first, so that the order of the sum does not depend on the threads.
        let losses: Vec<f64> = logits
            .par_chunks_exact(self.classes.max(1))
            .enumerate()
            .with_min_len(self.min_rows())
            .map_init(Vec::new, row)
            .collect();
        losses.iter().sum()
    }

    /// The gradient of `scale` times the sum of the losses: `p * sum(c) - c` in each row.
    pub(super) fn gradient<T: Float>(&self, logits: &[T], scale: f64) -> Vec<T> {
        let fill = |index: usize, chunk: &mut [std::mem::MaybeUninit<T>]| {
            let x = &logits[index * self.classes..][..self.classes];
            let mut c = vec![0.0; self.classes];
            self.write(index, &mut c);
            let total: f64 = c.iter().sum();
            let max = maximum(x);
            let mut sum = 0.0;
            for (dx, x) in chunk.iter_mut().zip(x) {
                sum += dx.write((*x - max).exp()).to_f64();
            }
            // SAFETY: the loop above writes every value of the chunk.
            let dx = unsafe { initialised(chunk) };
            for (dx, c) in dx.iter_mut().zip(&c) {
                *dx = T::from_f64(scale * (dx.to_f64() * (total / sum) - c));
            }
        };
        // SAFETY: the first loop writes each value of a chunk, which is as long as a row.
        unsafe { build(logits.len(), self.classes.max(1), fill) }
    }

    /// Rows per thread: a value takes about sixteen times as long as a copy.
    fn min_rows(&self) -> usize {
        (PARALLEL_THRESHOLD / 16).div_ceil(self.classes.max(1))
    }
}

/// The largest value of a row, or NaN if the row contains NaN.
fn maximum<T: Float>(row: &[T]) -> T {
    let larger = |a: T, b: &T| {
        if *b > a || b.partial_cmp(b).is_none() {
            *b
        } else {
            a
        }
    };
    row.iter().fold(T::from_f64(f64::NEG_INFINITY), larger)
}
