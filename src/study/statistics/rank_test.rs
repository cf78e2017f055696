//! Tests on ranks, for samples that are not normal.

use serde::{Deserialize, Serialize};

use super::distribution::normal_cdf;
use super::effect::wins;
use super::t_test::differences;

/// The result of a test on ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankTest {
    /// The test's statistic.
    pub statistic: f64,
    /// The two-sided p-value.
    pub p: f64,
    /// Whether `p` is exact; otherwise it is from the normal approximation.
    pub exact: bool,
}

/// The Mann-Whitney U test of two independent samples. The statistic is U of `a`. As in SciPy, p is
/// exact if a sample has at most 8 values and no two values are equal, and otherwise approximate, with
/// continuity correction.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<RankTest> {
    const EXACT: usize = 8;
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let u = wins(a, b);
    let joint: Vec<f64> = a.iter().chain(b).copied().collect();
    let (_, ties) = ranks(&joint);
    let (na, nb) = (a.len() as f64, b.len() as f64);
    let largest = u.max(na * nb - u);
    if ties.is_empty() && a.len().min(b.len()) <= EXACT {
        let counts = u_counts(a.len(), b.len());
        let total: f64 = counts.iter().sum();
        let tail: f64 = counts[largest as usize..].iter().sum();
        return Some(RankTest {
            statistic: u,
            p: (2.0 * tail / total).min(1.0),
            exact: true,
        });
    }
    let n = na + nb;
    let variance = na * nb / 12.0 * (n + 1.0 - tie_term(&ties) / (n * (n - 1.0)));
    approximate(u, largest - na * nb / 2.0 - 0.5, variance)
}

/// Wilcoxon's signed-rank test of the differences `a[i] - b[i]` that are not 0. The statistic is the
/// smaller of the two rank sums. As in SciPy, p is exact for at most 50 pairs without zeros or ties,
/// and otherwise approximate, without continuity correction.
pub fn wilcoxon(a: &[f64], b: &[f64]) -> Option<RankTest> {
    const EXACT: usize = 50;
    let all = differences(a, b)?;
    let kept: Vec<f64> = all.iter().copied().filter(|d| *d != 0.0).collect();
    let sizes: Vec<f64> = kept.iter().map(|d| d.abs()).collect();
    let (ranks, ties) = ranks(&sizes);
    let n = kept.len() as f64;
    let positive = ranks.iter().zip(&kept).filter(|(_, d)| **d > 0.0);
    let positive: f64 = positive.map(|(rank, _)| rank).sum();
    let total = n * (n + 1.0) / 2.0;
    let smaller = positive.min(total - positive);
    if kept.is_empty() {
        return None;
    }
    if ties.is_empty() && kept.len() == all.len() && kept.len() <= EXACT {
        let counts = rank_sum_counts(kept.len());
        let tail: f64 = counts[..=smaller as usize].iter().sum();
        return Some(RankTest {
            statistic: smaller,
            p: (2.0 * tail / 2f64.powf(n)).min(1.0),
            exact: true,
        });
    }
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - 0.5 * tie_term(&ties)) / 24.0;
    approximate(smaller, total / 2.0 - smaller, variance)
}

fn approximate(statistic: f64, excess: f64, variance: f64) -> Option<RankTest> {
    (variance > 0.0).then(|| RankTest {
        statistic,
        p: (2.0 * normal_cdf(-excess / variance.sqrt())).min(1.0),
        exact: false,
    })
}

/// Ranks from 1 in ascending order, equal values with the mean of their ranks, and the sizes of the
/// groups of equal values.
pub(super) fn ranks(values: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let (mut ranks, mut ties) = (vec![0.0; values.len()], Vec::new());
    let mut first = 0;
    for group in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = first as f64 + (group.len() as f64 + 1.0) / 2.0;
        for &i in group {
            ranks[i] = rank;
        }
        if group.len() > 1 {
            ties.push(group.len());
        }
        first += group.len();
    }
    (ranks, ties)
}

/// The sum of t³ - t over groups of t equal values.
pub(super) fn tie_term(ties: &[usize]) -> f64 {
    ties.iter().map(|&t| (t as f64).powi(3) - t as f64).sum()
}

/// The number of orders of `na` and `nb` values with each U.
fn u_counts(na: usize, nb: usize) -> Vec<f64> {
    // Rows: U of i values against all of b so far. Adding value number j of b adds up to i to U.
    let mut rows: Vec<Vec<f64>> = vec![vec![0.0; na * nb + 1]; na + 1];
    for row in &mut rows {
        row[0] = 1.0;
    }
    for j in 1..=nb {
        let mut next = rows.clone();
        for i in 1..=na {
            // The largest value is of a, above all j of b, or of b.
            for u in 0..=na * nb {
                let of_a = if u >= j { next[i - 1][u - j] } else { 0.0 };
                next[i][u] = of_a + rows[i][u];
            }
        }
        rows = next;
    }
    rows.swap_remove(na)
}

/// The number of subsets of the ranks 1 to `n` with each sum.
fn rank_sum_counts(n: usize) -> Vec<f64> {
    let largest = n * (n + 1) / 2;
    let mut counts = vec![0.0; largest + 1];
    counts[0] = 1.0;
    for rank in 1..=n {
        for sum in (rank..=largest).rev() {
            counts[sum] += counts[sum - rank];
        }
    }
    counts
}
