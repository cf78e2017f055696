//! What a communicator does.

use candle_core::{Device, Result, Tensor};

use crate::ops::AllReduce;

/// Hands a buffer over to [`Communicator::all_reduce_during`]: a contiguous f32 tensor `[N]` that shares no
/// memory with others.
pub type HandOver<'a> = &'a mut dyn FnMut(Tensor) -> Result<()>;

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
    /// order and on their devices. `body` hands over at most `most` buffers. The sums may be computed
    /// while `body` runs, and may replace the values of the buffers.
    ///
    /// # Errors
    /// If another rank has ended, or the error of `body`.
    fn all_reduce_during(
        &self,
        most: usize,
        body: &mut dyn FnMut(HandOver<'_>) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        let mut sums = Vec::with_capacity(most);
        body(&mut |buffer| {
            let mut values = buffer.to_vec1()?;
            self.all_reduce_sum(&mut values)?;
            let sum = Tensor::from_vec(values, buffer.shape(), &Device::Cpu)?;
            sums.push(sum.to_device(buffer.device())?);
            Ok(())
        })?;
        Ok(sums)
    }

    /// Replaces `bytes` by the bytes of the rank `root`.
    ///
    /// # Errors
    /// If another rank has ended.
    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()>;

    /// The bytes of all ranks, by rank.
    ///
    /// # Errors
    /// If another rank has ended.
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let of_rank = |root| {
            let mut sent = match root == self.rank() {
                true => bytes.to_vec(),
                false => Vec::new(),
            };
            self.broadcast(root, &mut sent)?;
            Ok(sent)
        };
        (0..self.size()).map(of_rank).collect()
    }

    /// Waits for all ranks.
    ///
    /// # Errors
    /// If another rank has ended.
    fn barrier(&self) -> Result<()>;

    /// Ends all ranks with this exit code, because this one cannot continue. Between processes it does
    /// not return.
    fn abort(&self, code: u8);
}
