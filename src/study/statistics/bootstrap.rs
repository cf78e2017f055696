//! Bootstrap intervals.

use rand::Rng;

use super::distribution::{normal_cdf, normal_quantile};
use super::interval::Interval;
use super::moments::mean;
use crate::rng::Generator;

/// Resamples of [`bca`]: as many as SciPy draws.
pub const BOOTSTRAP_RESAMPLES: usize = 9999;

/// The 95 % interval of `statistic` by the bias-corrected and accelerated bootstrap (Efron, 1987),
/// with resamples from a fixed seed.
pub fn bca(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let generator = Generator::named(0, "bca");
    let mut random = generator.lock();
    let mut sample = values.to_vec();
    let resampled: Vec<f64> = (0..BOOTSTRAP_RESAMPLES)
        .map(|_| {
            sample.fill_with(|| values[random.random_range(0..values.len())]);
            statistic(&sample)
        })
        .collect();
    bca_of(values, statistic, &resampled)
}

/// The BCa interval from the statistics of given resamples.
pub fn bca_of(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    resampled: &[f64],
) -> Option<Interval> {
    let value = statistic(values);
    let below = resampled.iter().filter(|other| **other < value).count();
    let up_to = resampled.iter().filter(|other| **other <= value).count();
    let share = (below + up_to) as f64 / (2 * resampled.len()) as f64;
    // All resamples are on one side, or equal.
    if values.len() < 2 || !(share > 0.0 && share < 1.0) {
        return None;
    }
    let bias = normal_quantile(share);
    let acceleration = acceleration(values, statistic)?;
    let mut sorted = resampled.to_vec();
    sorted.sort_by(f64::total_cmp);
    let end = |p: f64| {
        let z = bias + normal_quantile(p);
        percentile(&sorted, normal_cdf(bias + z / (1.0 - acceleration * z)))
    };
    Some(Interval {
        low: end(0.025),
        high: end(0.975),
    })
}

/// A sixth of the skewness of the jackknife: how fast the standard error changes with the statistic.
fn acceleration(values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Option<f64> {
    let without = |i: usize| {
        let mut rest = values.to_vec();
        rest.remove(i);
        statistic(&rest)
    };
    let jackknife: Vec<f64> = (0..values.len()).map(without).collect();
    let centre = mean(&jackknife);
    let sum = |power: i32| -> f64 { jackknife.iter().map(|x| (centre - x).powi(power)).sum() };
    let spread = sum(2).powf(1.5);
    (spread > 0.0).then(|| sum(3) / (6.0 * spread))
}

/// The quantile `p` of ascending values, interpolated linearly between the two nearest.
///
/// # Panics
/// If there are no values.
pub fn percentile(sorted: &[f64], p: f64) -> f64 {
    let position = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}
