//! Effect sizes of a difference between two samples.

use serde::{Deserialize, Serialize};

use super::distribution::noncentral_t_cdf;
use super::interval::Interval;
use super::moments::{mean, squares};
use super::quadrature::solve;

/// Cohen's d: the difference of the means in units of the pooled standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CohensD {
    /// The value.
    pub d: f64,
    /// Its exact 95 % interval for normal samples of equal variances, from the noncentral t
    /// distribution (Steiger and Fouladi, 1997).
    pub ci95: Interval,
}

/// Cohen's d of mean(a) - mean(b). `None` without spread, or if a value is not finite.
pub fn cohens_d(a: &[f64], b: &[f64]) -> Option<CohensD> {
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let df = na + nb - 2.0;
    let pooled = ((squares(a) + squares(b)) / df).sqrt();
    let defined = pooled.is_finite() && pooled > 0.0;
    if a.is_empty() || b.is_empty() || df < 1.0 || !defined {
        return None;
    }
    let d = (mean(a) - mean(b)) / pooled;
    // t is noncentral t with delta = scale * d.
    let scale = (na * nb / (na + nb)).sqrt();
    let t = d * scale;
    // The distribution function falls as delta rises.
    let delta = |p: f64| {
        solve(-p, t - 4.0, t + 4.0, |delta| {
            -noncentral_t_cdf(t, df, delta)
        })
    };
    Some(CohensD {
        d,
        ci95: Interval {
            low: delta(0.975) / scale,
            high: delta(0.025) / scale,
        },
    })
}

/// The probability that a random value of `a` is above one of `b`; ties count half. `None` if a
/// sample is empty.
pub fn probability_of_superiority(a: &[f64], b: &[f64]) -> Option<f64> {
    let pairs = a.len() * b.len();
    (pairs > 0).then(|| wins(a, b) / pairs as f64)
}

/// Pairs whose value in `a` is above the value in `b`; ties count half. This is Mann and Whitney's
/// U.
pub(super) fn wins(a: &[f64], b: &[f64]) -> f64 {
    let win = |x: f64, y: f64| match x.total_cmp(&y) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    a.iter()
        .map(|&x| b.iter().map(|&y| win(x, y)).sum::<f64>())
        .sum()
}
