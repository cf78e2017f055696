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

    /// The difference of two proportions of the same images, `after` - `before`, each as `(before,
    /// after)`. Its interval is Newcombe's (1998, method 10), from the intervals of both proportions
    /// and their correlation. Few images that change never make an interval that excludes 0.
    pub fn paired_proportions(pairs: impl Iterator<Item = (bool, bool)>) -> Self {
        let (mut both, mut gained, mut lost, mut neither) = (0, 0, 0, 0);
        for pair in pairs {
            match pair {
                (true, true) => both += 1,
                (false, true) => gained += 1,
                (true, false) => lost += 1,
                (false, false) => neither += 1,
            }
        }
        let count = both + gained + lost + neither;
        if count == 0 {
            return Self::default();
        }
        let after = Self::proportion(both + gained, count);
        let before = Self::proportion(both + lost, count);
        let [a, b, c, d, n] = [both, gained, lost, neither, count].map(|images| images as f64);
        // The correlation, where it is positive with a correction for continuity.
        let excess = match a * d - b * c {
            excess if excess > 0.0 => (excess - n / 2.0).max(0.0),
            excess => excess,
        };
        let product = (a + b) * (c + d) * (a + c) * (b + d);
        let correlation = if product > 0.0 {
            excess / product.sqrt()
        } else {
            0.0
        };
        let distance = |x: f64, y: f64| (x * x - 2.0 * correlation * x * y + y * y).max(0.0).sqrt();
        let value = (b - c) / n;
        Self {
            value,
            low: value - distance(after.value - after.low, before.high - before.value),
            high: value + distance(after.high - after.value, before.value - before.low),
        }
    }

    /// The `statistic` of all `count` images with a bootstrap interval: the 2.5 % and 97.5 % quantiles
    /// over resamples with replacement (Efron's percentile bootstrap) from a fixed seed, shifted by
    /// the bias, so that the mean of the resamples equals the statistic. Noise increases some
    /// statistics, such as a calibration error, and resampling increases them again: without the
    /// shift the interval would be above the statistic.
    pub fn bootstrap(count: usize, statistic: impl Fn(&[usize]) -> f64) -> Self {
        let resampled = Resampled::new(count, statistic);
        let bias = resampled.values.iter().sum::<f64>() / RESAMPLES as f64 - resampled.value;
        resampled.estimate(bias)
    }

    /// The mean of `values` with an unshifted bootstrap interval: a mean has no bias.
    pub fn mean(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = |sample: &[usize]| sample.iter().map(|i| values[*i]).sum::<f64>() / count;
        Resampled::new(values.len(), mean).estimate(0.0)
    }
}

/// A statistic and its values for resamples, in order.
struct Resampled {
    value: f64,
    values: Vec<f64>,
}

impl Resampled {
    fn new(count: usize, statistic: impl Fn(&[usize]) -> f64) -> Self {
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
        Self { value, values }
    }

    fn estimate(&self, bias: f64) -> Estimate {
        let quantile = |q: f64| self.values[(q * (RESAMPLES - 1) as f64).round() as usize] - bias;
        Estimate {
            value: self.value,
            low: quantile(0.025),
            high: quantile(0.975),
        }
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

    /// Both, gained, lost, neither.
    fn paired(counts: [usize; 4]) -> Estimate {
        let pairs = [(true, true), (false, true), (true, false), (false, false)];
        let pairs = pairs.into_iter().zip(counts);
        Estimate::paired_proportions(
            pairs.flat_map(|(pair, count)| std::iter::repeat_n(pair, count)),
        )
    }

    #[test]
    fn paired_proportions_have_newcombes_interval() {
        // Examples of Newcombe (Statistics in Medicine 17, 1998) and of Fagerland, Lydersen and Laake
        // (Statistics in Medicine 33, 2014).
        for (counts, low, high) in [
            ([20, 12, 2, 16], 0.0562, 0.3292),
            ([1, 1, 7, 12], -0.507, -0.026),
        ] {
            let found = paired(counts);
            assert!((found.low - low).abs() < 5e-4, "{found:?}");
            assert!((found.high - high).abs() < 5e-4, "{found:?}");
        }
        assert_eq!(paired([0; 4]), Estimate::default());
    }

    /// The sign test says p = 1, 0.5, 0.25 and 0.125.
    #[test]
    fn few_changed_images_prove_nothing() {
        for (images, right) in [(200, 130), (10_000, 6_100)] {
            for changed in 0..=4 {
                let gained = paired([right, changed, 0, images - right - changed]);
                assert!(
                    gained.low < 0.0 && gained.high > 0.0,
                    "{changed}: {gained:?}"
                );
                let lost = paired([right, 0, changed, images - right - changed]);
                let mirrored = [lost.low + gained.high, lost.high + gained.low];
                assert!(
                    mirrored.iter().all(|x| x.abs() < 1e-12),
                    "{lost:?} {gained:?}"
                );
            }
            let many = paired([right, 12, 2, images - right - 14]);
            assert!(many.low > 0.0, "{many:?}");
        }
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
