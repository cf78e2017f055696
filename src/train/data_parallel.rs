//! How the ranks of a run share its work.

use super::communicator::{Communicator, Single};

/// The ranks of a data parallel run, as in PyTorch's `DistributedDataParallel`: each rank computes the
/// gradients of a part of each batch, and all take the same step with their mean.
#[derive(Debug, Clone, Copy)]
pub struct DataParallel<'a> {
    /// The ranks.
    pub communicator: &'a dyn Communicator,
    /// The size of a bucket of gradients that are summed at once, in MiB.
    pub bucket_cap_mb: f64,
}

impl<'a> DataParallel<'a> {
    /// PyTorch's default of `bucket_cap_mb`.
    pub const BUCKET_CAP_MB: f64 = 25.0;

    /// One process.
    pub const SINGLE: DataParallel<'static> = DataParallel::new(&Single);

    /// The ranks of `communicator`, with buckets of the default size.
    pub const fn new(communicator: &'a dyn Communicator) -> Self {
        Self {
            communicator,
            bucket_cap_mb: Self::BUCKET_CAP_MB,
        }
    }

    /// Whether there is one process.
    pub(super) fn is_single(&self) -> bool {
        self.communicator.size() == 1
    }

    /// Whether this rank writes the files.
    pub(super) fn writes(&self) -> bool {
        self.communicator.rank() == 0
    }

    /// The number of ranks.
    pub(super) fn ranks(&self) -> usize {
        self.communicator.size()
    }
}
