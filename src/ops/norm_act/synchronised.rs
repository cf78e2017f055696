//! Statistics of a batch that is divided among processes.

use candle_core::Result;

use super::channels::Moment;
use crate::ops::AllReduce;

/// The moments of each channel over all processes, and the number of values of a channel. This process
/// has `count` values of each channel with the moments `local`.
///
/// One sum over the processes gives both. It is in f64: the variance loses the bits by which the
/// squared mean exceeds it, and f64 has 29 more than f32.
pub(super) fn moments(
    local: &[Moment],
    count: usize,
    processes: &dyn AllReduce,
) -> Result<(Vec<Moment>, f64)> {
    let count = count as f64;
    let mut sums = Vec::with_capacity(1 + 2 * local.len());
    sums.push(count);
    for Moment { mean, variance } in local {
        sums.extend([count * mean, count * (variance + mean * mean)]);
    }
    processes.all_reduce_sum_f64(&mut sums)?;
    let total = sums[0];
    let moments = sums[1..].chunks_exact(2).map(|sums| {
        let mean = sums[0] / total;
        Moment {
            mean,
            variance: (sums[1] / total - mean * mean).max(0.0),
        }
    });
    Ok((moments.collect(), total))
}

/// The two sums of each channel in the backward pass, over all processes.
pub(super) fn pairs(local: &[(f64, f64)], processes: &dyn AllReduce) -> Result<Vec<(f64, f64)>> {
    let mut sums: Vec<f64> = local.iter().flat_map(|&(a, b)| [a, b]).collect();
    processes.all_reduce_sum_f64(&mut sums)?;
    Ok(sums.chunks_exact(2).map(|s| (s[0], s[1])).collect())
}
