//! Numerical integration and root finding for smooth functions.

/// The integral of `f` from `low` to `high` by Simpson's rule over `2 * pairs` intervals.
pub(super) fn simpson(low: f64, high: f64, pairs: usize, f: impl Fn(f64) -> f64) -> f64 {
    let steps = 2 * pairs;
    let h = (high - low) / steps as f64;
    let term = |i: usize| {
        let weight = match i {
            _ if i == 0 || i == steps => 1.0,
            _ if i % 2 == 1 => 4.0,
            _ => 2.0,
        };
        weight * f(low + i as f64 * h)
    };
    (0..=steps).map(term).sum::<f64>() * h / 3.0
}

/// The x at which the increasing function `f` reaches `target`, by bisection. The search starts
/// between `low` and `high`, which move outward until they enclose x. It ends at the largest numbers.
pub(super) fn solve(target: f64, low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, high);
    // Two large numbers may be equal.
    let mut step = (high - low)
        .max(f64::EPSILON * low.abs())
        .max(f64::MIN_POSITIVE);
    while f(low) > target && low > -f64::MAX {
        low = (low - step).max(-f64::MAX);
        step *= 2.0;
    }
    while f(high) < target && high < f64::MAX {
        high = (high + step).min(f64::MAX);
        step *= 2.0;
    }
    loop {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            return middle;
        }
        if f(middle) < target {
            low = middle;
        } else {
            high = middle;
        }
    }
}
