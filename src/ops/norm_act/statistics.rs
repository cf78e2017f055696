//! The statistics of batch normalisation.

use std::sync::Arc;

use candle_core::Tensor;

use crate::ops::AllReduce;

pub(super) const OP: &str = "batch_norm_act";

/// The mean and variance that batch normalisation uses.
#[derive(Debug, Clone, Copy)]
pub enum Statistics<'a> {
    /// The mean and variance of the batch, as in training.
    Batch,
    /// The mean and variance of a batch that is divided among processes: PyTorch's `SyncBatchNorm`.
    /// Each process must have at least one image and apply the op.
    Synchronised(&'a Arc<dyn AllReduce>),
    /// These constants, `[C]` each, as in evaluation. They receive no gradient.
    Running {
        /// The mean of each channel.
        mean: &'a Tensor,
        /// The variance of each channel.
        variance: &'a Tensor,
    },
}

/// The statistics of a batch for each channel, for the update of running statistics.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// The mean, `[C]`.
    pub mean: Tensor,
    /// The unbiased variance (divided by the number of values minus one), `[C]`.
    pub variance: Tensor,
}
