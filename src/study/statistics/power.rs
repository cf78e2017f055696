//! Which difference a comparison could have found.

use super::distribution::{noncentral_t_cdf, t_two_sided_quantile};
use super::moments::{squares, std_dev};
use super::quadrature::solve;
use super::t_test::differences;

/// The significance level and the power of [`detectable_difference`].
const LEVEL: f64 = 0.05;
const POWER: f64 = 0.8;

/// The difference of means that a two-sided t-test at the 5 % level finds with a probability of 80 %,
/// for samples of these sizes and of their pooled standard deviation.
pub fn detectable_difference(a: &[f64], b: &[f64]) -> Option<f64> {
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let df = na + nb - 2.0;
    if a.is_empty() || b.is_empty() || df < 1.0 {
        return None;
    }
    let pooled = ((squares(a) + squares(b)) / df).sqrt();
    (pooled > 0.0).then(|| noncentrality(df) / (na * nb / (na + nb)).sqrt() * pooled)
}

/// The same of a paired t-test, for the standard deviation of the differences `a[i] - b[i]`.
pub fn detectable_paired_difference(a: &[f64], b: &[f64]) -> Option<f64> {
    let differences = differences(a, b)?;
    let n = differences.len() as f64;
    let std = std_dev(&differences)?;
    (std > 0.0).then(|| noncentrality(n - 1.0) / n.sqrt() * std)
}

/// The noncentrality at which |t| exceeds its critical value with the wanted power.
fn noncentrality(df: f64) -> f64 {
    let critical = t_two_sided_quantile(LEVEL, df);
    let power = |delta: f64| {
        1.0 - noncentral_t_cdf(critical, df, delta) + noncentral_t_cdf(-critical, df, delta)
    };
    solve(POWER, 0.0, 4.0, power)
}
