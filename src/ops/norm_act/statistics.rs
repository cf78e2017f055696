//! What batch normalisation normalises with, and what it reports.

use candle_core::Tensor;

pub(super) const OP: &str = "batch_norm_act";

/// What batch normalisation normalises with.
#[derive(Debug, Clone, Copy)]
pub enum Statistics<'a> {
    /// The batch's own mean and variance, as in training.
    Batch,
    /// These constants, `[C]` each, as in evaluation; no gradient flows to them.
    Running {
        /// The mean of each channel.
        mean: &'a Tensor,
        /// The variance of each channel.
        variance: &'a Tensor,
    },
}

/// What a batch says about each channel: what running statistics are updated with.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// The mean, `[C]`.
    pub mean: Tensor,
    /// The unbiased estimate of the variance (divided by the number of values less one), `[C]`.
    pub variance: Tensor,
}
