//! Figures of a sample with confidence intervals for the population.

use rand::Rng;
use serde::Serialize;

use crate::rng::Generator;

/// The 97.5 % quantile of the normal distribution, for 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of a bootstrap: enough for two digits of a 95 % interval.
const RESAMPLES: usize = 1000;

/// A figure with its 95 % confidence interval over the images.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Estimate {
    /// The value on this sample.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// The proportion `successes` / `trials` with Wilson's score interval (Wilson, 1927).
    pub fn proportion(successes: usize, trials: usize) -> Self {
        if trials == 0 {
            return Self::default();
        }
        let (n, p) = (trials as f64, successes as f64 / trials as f64);
        let centre = p + Z * Z / (2.0 * n);
        let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        Self {
            value: p,
            low: ((centre - spread) / scale).max(0.0),
            high: ((centre + spread) / scale).min(1.0),
        }
    }

    /// The `statistic` of all `count` images with a bootstrap interval: the 2.5 % and 97.5 % quantiles
    /// over resamples with replacement (Efron's percentile bootstrap) from a fixed seed, shifted by
    /// the bias, so that the mean of the resamples equals the statistic. Noise increases some
    /// statistics, such as a calibration error, and resampling increases them again: without the
    /// shift the interval would be above the statistic.
    pub fn bootstrap(count: usize, statistic: impl Fn(&[usize]) -> f64) -> Self {
        let mut sample: Vec<usize> = (0..count).collect();
        let value = statistic(&sample);
        let generator = Generator::named(0, "bootstrap");
        let mut random = generator.lock();
        let mut values: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                if count > 0 {
                    sample.fill_with(|| random.random_range(0..count));
                }
                statistic(&sample)
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let bias = values.iter().sum::<f64>() / RESAMPLES as f64 - value;
        let quantile = |q: f64| values[(q * (RESAMPLES - 1) as f64).round() as usize] - bias;
        Self {
            value,
            low: quantile(0.025),
            high: quantile(0.975),
        }
    }

    /// The mean of `values` with a bootstrap interval.
    pub fn mean(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        Self::bootstrap(values.len(), |sample| {
            sample.iter().map(|i| values[*i]).sum::<f64>() / count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_have_wilsons_interval() {
        // 10 of 20: (0.5 + z²/40 ± z sqrt(0.0125 + z²/1600)) / (1 + z²/20).
        let half = Estimate::proportion(10, 20);
        assert!((half.low - 0.299_298).abs() < 1e-6, "{half:?}");
        assert!((half.high - 0.700_702).abs() < 1e-6, "{half:?}");
        let none = Estimate::proportion(0, 20);
        assert_eq!((none.value, none.low), (0.0, 0.0));
        assert!((none.high - Z * Z / (20.0 + Z * Z)).abs() < 1e-12);
        assert_eq!(Estimate::proportion(0, 0), Estimate::default());
    }

    #[test]
    fn a_bootstrap_of_a_mean_is_about_as_wide_as_its_standard_error() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let mean = Estimate::mean(&values);
        assert_eq!(mean.value, 499.5);
        // The standard error is 1000 / sqrt(12) / sqrt(1000).
        let half_width = Z * 1000f64.sqrt() / 12f64.sqrt();
        assert!((mean.high - mean.low - 2.0 * half_width).abs() < 0.2 * half_width);
        assert!(mean.low < 499.5 && mean.high > 499.5);
        assert_eq!(mean, Estimate::mean(&values), "the same every time");
    }

    #[test]
    fn a_biased_statistic_is_inside_its_interval() {
        // Noise increases the distance of the mean from 0. For the sample itself it is 0.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i) - 49.5).collect();
        let distance = Estimate::bootstrap(100, |sample| {
            (sample.iter().map(|i| values[*i]).sum::<f64>() / 100.0).abs()
        });
        assert_eq!(distance.value, 0.0);
        assert!(distance.low < 0.0 && distance.high > 0.0, "{distance:?}");
    }
}
