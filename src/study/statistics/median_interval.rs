//! The interval of a median.

use super::interval::Interval;

/// The 95 % interval of the median from the order of the values, without an assumption about their
/// distribution; `None` for fewer than six values, which cannot give one.
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The number of values below the median is binomial with p = 1/2. The interval leaves out as many
    // values on each side as have a probability of at most 2.5 %.
    let mut probability = 0.5f64.powi(i32::try_from(sorted.len()).ok()?);
    let (mut cumulative, mut left_out) = (probability, 0);
    while cumulative < 0.025 {
        left_out += 1;
        probability *= (sorted.len() + 1 - left_out) as f64 / left_out as f64;
        cumulative += probability;
    }
    let first = left_out.checked_sub(1)?;
    Some(Interval {
        low: *sorted.get(first)?,
        high: *sorted.get(sorted.len().checked_sub(left_out)?)?,
    })
}
