//! The interval of a median.

use super::interval::Interval;

/// The 95 % interval of the median from the order of the values, without an assumption about their
/// distribution; `None` for fewer than six values, which cannot give one.
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The number of values below the median is binomial with p = 1/2. The interval leaves out as many
    // values on each side as have a probability of at most 2.5 %.
    // The logarithm of the probability: 2^-n itself is 0 for many values.
    let mut log = -(sorted.len() as f64) * std::f64::consts::LN_2;
    let (mut cumulative, mut left_out) = (log.exp(), 0);
    while cumulative < 0.025 {
        left_out += 1;
        log += ((sorted.len() + 1 - left_out) as f64 / left_out as f64).ln();
        cumulative += log.exp();
    }
    let first = left_out.checked_sub(1)?;
    Some(Interval {
        low: *sorted.get(first)?,
        high: *sorted.get(sorted.len().checked_sub(left_out)?)?,
    })
}
