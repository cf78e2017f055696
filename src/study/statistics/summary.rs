//! Figures of one sample.

use serde::{Deserialize, Serialize};

use super::bootstrap::bca;
use super::distribution::t_two_sided_quantile;

/// A confidence interval. In files it is the pair of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<[f64; 2]> for Interval {
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

impl Interval {
    /// The interval from `centre - half` to `centre + half`.
    pub(super) fn around(centre: f64, half: f64) -> Self {
        Self {
            low: centre - half,
            high: centre + half,
        }
    }

    /// Whether `value` is in the interval.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The figures of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The number of values.
    pub n: usize,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with n - 1 in the denominator.
    pub std: Option<f64>,
    /// The standard error of the mean.
    pub sem: Option<f64>,
    /// The median.
    pub median: f64,
    /// The 95 % interval of the mean by Student's t distribution.
    pub ci95: Option<Interval>,
    /// The 95 % interval of the mean by the BCa bootstrap.
    pub bca95: Option<Interval>,
}

impl Summary {
    /// Summarises `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let (n, mean) = (values.len(), mean(values));
        let std = std_dev(values);
        let sem = std.map(|std| std / (n as f64).sqrt());
        Some(Self {
            n,
            mean,
            std,
            sem,
            median: median(values),
            ci95: sem.map(|sem| {
                Interval::around(mean, sem * t_two_sided_quantile(0.05, n as f64 - 1.0))
            }),
            bca95: bca(values, self::mean),
        })
    }
}

/// The mean; NaN without values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard deviation with n - 1 in the denominator.
pub fn std_dev(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| (squares(values) / (values.len() as f64 - 1.0)).sqrt())
}

/// The sum of squared differences from the mean.
pub(super) fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The median; NaN without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(upper) if sorted.len() % 2 == 1 => *upper,
        Some(upper) => 0.5 * (sorted[middle - 1] + upper),
    }
}
