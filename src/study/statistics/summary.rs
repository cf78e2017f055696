//! Figures of one sample.

use serde::{Deserialize, Serialize};

use super::bootstrap::bca;
use super::distribution::t_two_sided_quantile;
use super::interval::Interval;
use super::moments::{mean, median, std_dev};

/// The figures of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The number of values. Not serialised: the cells of an analysis have it as well.
    #[serde(skip)]
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
        let (n, centre) = (values.len(), mean(values));
        let std = std_dev(values);
        let sem = std.map(|std| std / (n as f64).sqrt());
        Some(Self {
            n,
            mean: centre,
            std,
            sem,
            median: median(values),
            ci95: sem.map(|sem| {
                Interval::around(centre, sem * t_two_sided_quantile(0.05, n as f64 - 1.0))
            }),
            bca95: bca(values, mean),
        })
    }
}
