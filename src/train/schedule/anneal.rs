//! Half a cosine.

use std::f64::consts::PI;

/// Half a cosine from `from` at 0 to `to` at 1, constant after 1.
pub(super) fn anneal(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share.clamp(0.0, 1.0)).cos())
}
