//! Comparisons of settings over several networks or data sets, the blocks.

use serde::{Deserialize, Serialize};

use super::distribution::{chi_squared_tail, range_cdf, range_quantile};
use super::moments::{mean, squares};
use super::rank_test::{ranks, tie_term};
use super::t_test::{TTest, rounding};

/// Friedman's test with Nemenyi's comparison of mean ranks (Demšar, "Statistical Comparisons of
/// Classifiers over Multiple Data Sets", 2006).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Friedman {
    /// The mean rank of each setting over the blocks. Rank 1 is the highest value.
    pub mean_ranks: Vec<f64>,
    /// The statistic, corrected for ties.
    pub chi_squared: f64,
    /// Its p-value by the chi-squared distribution.
    pub p: f64,
    /// Nemenyi's critical difference of mean ranks at the 5 % level.
    pub critical_difference: f64,
    /// Nemenyi's p-values for each pair of settings.
    pub pairwise_p: Vec<Vec<f64>>,
}

/// Compares settings by their ranks in each block. `blocks[b][s]` is the value of setting `s` in block
/// `b`, such as the mean over its seeds. `None` for fewer than two blocks or three settings, for
/// blocks of different lengths, or if all values of every block are equal.
pub fn friedman(blocks: &[Vec<f64>]) -> Option<Friedman> {
    let k = blocks.first()?.len();
    if blocks.len() < 2 || k < 3 || blocks.iter().any(|block| block.len() != k) {
        return None;
    }
    let (n, kf) = (blocks.len() as f64, k as f64);
    let mut sums = vec![0.0; k];
    let mut ties = 0.0;
    for block in blocks {
        // Rank 1 is the highest value.
        let negated: Vec<f64> = block.iter().map(|value| -value).collect();
        let (ranks, groups) = ranks(&negated);
        sums.iter_mut()
            .zip(ranks)
            .for_each(|(sum, rank)| *sum += rank);
        ties += tie_term(&groups);
    }
    let correction = 1.0 - ties / (n * kf * (kf * kf - 1.0));
    if correction <= 0.0 {
        return None;
    }
    let squared: f64 = sums.iter().map(|sum| sum * sum).sum();
    let uncorrected = 12.0 / (n * kf * (kf + 1.0)) * squared - 3.0 * n * (kf + 1.0);
    let chi_squared = uncorrected / correction;
    let mean_ranks: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
    // The standard error of a difference of mean ranks, in the units of the range distribution.
    let unit = (kf * (kf + 1.0) / (12.0 * n)).sqrt();
    let pair = |a: f64, b: f64| 1.0 - range_cdf((a - b).abs() / unit, k);
    let row = |a: &f64| mean_ranks.iter().map(|b| pair(*a, *b)).collect();
    Some(Friedman {
        chi_squared,
        p: chi_squared_tail(chi_squared, kf - 1.0),
        critical_difference: range_quantile(0.95, k) * unit,
        pairwise_p: mean_ranks.iter().map(row).collect(),
        mean_ranks,
    })
}

/// The values of two settings in one block.
#[derive(Debug, Clone, Copy)]
pub struct BlockDifference<'a> {
    /// The values of one setting.
    pub a: &'a [f64],
    /// The values of the other.
    pub b: &'a [f64],
}

/// The mean difference a - b over blocks, from a linear model with an effect of each block and one of
/// the setting: `value ~ block + setting`. All blocks share one variance and one difference. Blocks
/// that lack a setting do not count.
pub fn block_difference(blocks: &[BlockDifference<'_>]) -> Option<TTest> {
    let (mut residual, mut values, mut largest) = (0.0, 0, 0.0_f64);
    let mut differences = Vec::new();
    for BlockDifference { a, b } in blocks {
        if a.is_empty() || b.is_empty() {
            continue;
        }
        let (na, nb) = (a.len() as f64, b.len() as f64);
        differences.push((na * nb / (na + nb), mean(a) - mean(b)));
        residual += squares(a) + squares(b);
        values += a.len() + b.len();
        largest = a.iter().chain(*b).fold(largest, |x, y| x.max(y.abs()));
    }
    let weights: f64 = differences.iter().map(|(weight, _)| weight).sum();
    let weighted = differences.iter().map(|(weight, value)| weight * value);
    let difference = weighted.sum::<f64>() / weights;
    // The differences around their weighted mean. Those that only rounding tells apart are equal.
    for (weight, value) in &differences {
        let around = value - difference;
        if around.abs() > rounding(largest) {
            residual += weight * around * around;
        }
    }
    let df = values as f64 - differences.len() as f64 - 1.0;
    TTest::new(difference, (residual / df / weights).sqrt(), df)
}
