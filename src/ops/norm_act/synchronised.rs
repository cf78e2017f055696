//! Statistics of a batch that is divided among processes.

use candle_core::{Result, bail};

use super::moment::{Moment, not_negative};
use super::statistics::OP;
use crate::ops::AllReduce;

/// The largest ratio of the squared mean to the variance in one sum. The variance then has 13 bits less
/// than an f64, still more than an f32.
const POOR: f64 = 1e4;

/// The moments of each channel over all processes, and the number of values of a channel. This process
/// has `count` values of each channel with the moments `local`.
///
/// One sum over the processes gives all of them. If a mean is so far from zero that a variance loses
/// too many bits, a second sum is around the means.
///
/// # Errors
/// The error of the sum, or in all processes if they have one value per channel together.
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
    if total <= 1.0 {
        bail!(
            "{OP}: the statistics of a batch need more than one value per channel, all processes \
             together have {total}: use a larger batch, or running statistics"
        );
    }
    let moments = sums[1..].chunks_exact(2).map(|sums| {
        let mean = sums[0] / total;
        Moment {
            mean,
            variance: not_negative(sums[1] / total - mean * mean),
        }
    });
    let mut moments: Vec<Moment> = moments.collect();
    // All processes have the same sums, so all of them do it or none.
    let poor = |moment: &Moment| moment.mean * moment.mean > POOR * moment.variance;
    if moments.iter().any(poor) {
        let around = |(own, all): (&Moment, &Moment)| {
            let distance = own.mean - all.mean;
            count * (own.variance + distance * distance)
        };
        let mut squares: Vec<f64> = local.iter().zip(&moments).map(around).collect();
        processes.all_reduce_sum_f64(&mut squares)?;
        for (moment, square) in moments.iter_mut().zip(squares) {
            moment.variance = square / total;
        }
    }
    Ok((moments, total))
}

/// The two sums of each channel in the backward pass, over all processes.
pub(super) fn pairs(local: &[(f64, f64)], processes: &dyn AllReduce) -> Result<Vec<(f64, f64)>> {
    let mut sums: Vec<f64> = local.iter().flat_map(|&(a, b)| [a, b]).collect();
    processes.all_reduce_sum_f64(&mut sums)?;
    Ok(sums.chunks_exact(2).map(|s| (s[0], s[1])).collect())
}
