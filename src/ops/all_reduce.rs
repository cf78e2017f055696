//! Sums over the processes of a data parallel run.

use std::fmt::Debug;

use candle_core::Result;

/// Sums values over all processes of a data parallel run, for ops whose result depends on the whole
/// batch while each process holds a part of it.
pub trait AllReduce: Debug + Send + Sync {
    /// Replaces each value by its sum over all processes. The sums are equal on all processes, bit for
    /// bit. All processes must make the same calls in the same order, each with the same number of
    /// values.
    ///
    /// # Errors
    /// If another process has ended.
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()>;
}
