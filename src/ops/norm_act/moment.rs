//! Mean and variance of channels.

/// Mean and variance (biased) of a channel.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub mean: f64,
    pub variance: f64,
}

/// The moments of all channels.
#[derive(Debug)]
pub(super) struct Moments {
    pub channels: Vec<Moment>,
    /// The number of values of a channel.
    pub count: f64,
}

/// `variance`, or 0 if rounding has made it negative. NaN stays NaN.
pub(super) fn not_negative(variance: f64) -> f64 {
    if variance < 0.0 { 0.0 } else { variance }
}

impl Moment {
    pub(super) fn inverse_deviation(&self, eps: f64) -> f64 {
        1.0 / (self.variance + eps).sqrt()
    }
}
