//! Figures as text, for tables and sentences.

use crate::eval::Estimate;

/// A change of a proportion in percentage points, with its interval.
pub(super) fn points(change: &Estimate) -> String {
    let Estimate { value, low, high } = change;
    format!("{} [{}, {}]", signed(*value), signed(*low), signed(*high))
}

/// A change of a proportion in percentage points.
pub(super) fn signed(share: f64) -> String {
    // Zero after rounding has no sign.
    let rounded = (100.0 * share * 100.0).round() / 100.0 + 0.0;
    format!("{rounded:+.2}")
}

/// Each name once, in order of appearance.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}
