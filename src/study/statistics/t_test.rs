//! t-tests of a difference of means.

use serde::{Deserialize, Serialize};

use super::distribution::{t_two_sided, t_two_sided_quantile};
use super::interval::Interval;
use super::moments::{mean, squares, std_dev};

/// The result of a t-test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TTest {
    /// The difference of the means.
    pub difference: f64,
    /// The difference divided by its standard error.
    pub t: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// The two-sided p-value.
    pub p: f64,
    /// The 95 % interval of the difference.
    pub ci95: Interval,
}

impl TTest {
    pub(super) fn new(difference: f64, standard_error: f64, df: f64) -> Option<Self> {
        let defined = standard_error > 0.0 && df > 0.0;
        let t = difference / standard_error;
        defined.then(|| Self {
            difference,
            t,
            df,
            p: t_two_sided(t, df),
            ci95: Interval::around(difference, standard_error * t_two_sided_quantile(0.05, df)),
        })
    }
}

/// Welch's t-test of mean(a) - mean(b), for samples of unequal variances (Welch, 1947).
pub fn welch_t_test(a: &[f64], b: &[f64]) -> Option<TTest> {
    let part = |values: &[f64]| {
        let n = values.len() as f64;
        (n > 1.0).then(|| (squares(values) / (n - 1.0) / n, n - 1.0))
    };
    let ((va, da), (vb, db)) = (part(a)?, part(b)?);
    let variance = va + vb;
    // The Welch-Satterthwaite equation.
    let df = variance.powi(2) / (va.powi(2) / da + vb.powi(2) / db);
    TTest::new(mean(a) - mean(b), variance.sqrt(), df)
}

/// The paired t-test of the differences `a[i] - b[i]`. Samples of different lengths have none.
pub fn paired_t_test(a: &[f64], b: &[f64]) -> Option<TTest> {
    let differences = differences(a, b)?;
    let n = differences.len() as f64;
    let standard_error = std_dev(&differences)? / n.sqrt();
    TTest::new(mean(&differences), standard_error, n - 1.0)
}

/// The differences of paired samples. Differences that only rounding tells apart are made equal.
pub(super) fn differences(a: &[f64], b: &[f64]) -> Option<Vec<f64>> {
    if a.len() != b.len() {
        return None;
    }
    let mut differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let largest = a
        .iter()
        .chain(b)
        .fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let equal = |x: &f64| (x - differences[0]).abs() <= rounding(largest);
    if differences.iter().all(equal)
        && let Some(&first) = differences.first()
    {
        differences.fill(first);
    }
    Some(differences)
}

/// How far rounding alone can move the difference of two values up to `largest`.
pub(super) fn rounding(largest: f64) -> f64 {
    4.0 * f64::EPSILON * largest
}
