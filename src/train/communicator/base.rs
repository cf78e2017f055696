//! What a communicator does.

use candle_core::Result;

use crate::ops::AllReduce;

/// Hands a buffer over to [`Communicator::all_reduce_during`].
pub type HandOver<'a> = &'a mut dyn FnMut(Vec<f32>) -> Result<()>;

/// The collective operations of the ranks of a data parallel run.
///
/// All ranks must call them in the same order. Each sum is the same on all ranks, bit for bit, and the
/// same in each run with the same number of ranks.
pub trait Communicator: AllReduce {
    /// The number of this rank, counted from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// Replaces each value by its sum over all ranks.
    ///
    /// # Errors
    /// If another rank has ended.
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()>;

    /// Runs `body` and returns the sums over all ranks of the buffers that it hands over, in their
    /// order. `body` hands over at most `most` buffers. The sums may be computed while `body` runs.
    ///
    /// # Errors
    /// If another rank has ended, or the error of `body`.
    fn all_reduce_during(
        &self,
        most: usize,
        body: &mut dyn FnMut(HandOver<'_>) -> Result<()>,
    ) -> Result<Vec<Vec<f32>>> {
        let mut sums = Vec::with_capacity(most);
        body(&mut |mut values| {
            self.all_reduce_sum(&mut values)?;
            sums.push(values);
            Ok(())
        })?;
        Ok(sums)
    }

    /// Replaces `bytes` by those of rank 0.
    ///
    /// # Errors
    /// If another rank has ended.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()>;

    /// The bytes of all ranks, by rank.
    ///
    /// # Errors
    /// If another rank has ended.
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Waits for all ranks.
    ///
    /// # Errors
    /// If another rank has ended.
    fn barrier(&self) -> Result<()>;

    /// Ends all ranks with this exit code, because this one cannot continue. Between processes it does
    /// not return.
    fn abort(&self, code: u8);
}
