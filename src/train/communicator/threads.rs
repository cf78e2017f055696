//! Ranks that are threads of one process, to test data parallel training without MPI.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, bail};

use super::base::Communicator;
use crate::ops::AllReduce;

/// A rank of a group of threads. Sums add the values in the order of the ranks. If a rank is dropped,
/// the others get an error instead of waiting for it.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    group: Arc<Group>,
}

#[derive(Debug)]
struct Group {
    size: usize,
    exchange: Mutex<Exchange>,
    changed: Condvar,
}

/// The exchange of bytes in progress.
#[derive(Debug, Default)]
struct Exchange {
    /// The number of exchanges so far.
    round: u64,
    /// The bytes of the ranks that have arrived.
    arrived: Vec<Option<Vec<u8>>>,
    /// The bytes of all ranks in the last exchange.
    gathered: Arc<Vec<Vec<u8>>>,
    /// The first rank that ended.
    ended: Option<usize>,
}

impl Threads {
    /// The ranks of a group, one for each thread.
    pub fn group(size: usize) -> Vec<Self> {
        let group = Arc::new(Group {
            size,
            exchange: Mutex::new(Exchange {
                arrived: vec![None; size],
                ..Exchange::default()
            }),
            changed: Condvar::new(),
        });
        let rank = |rank| Self {
            rank,
            group: group.clone(),
        };
        (0..size).map(rank).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        let locked = self.group.exchange.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of all ranks, by rank.
    fn exchange(&self, bytes: Vec<u8>) -> Result<Arc<Vec<Vec<u8>>>> {
        let mut exchange = self.lock();
        let round = exchange.round;
        exchange.arrived[self.rank] = Some(bytes);
        if exchange.arrived.iter().all(Option::is_some) {
            let all = exchange.arrived.iter_mut().filter_map(Option::take);
            exchange.gathered = Arc::new(all.collect());
            exchange.round += 1;
            self.group.changed.notify_all();
        }
        while exchange.round == round {
            if let Some(rank) = exchange.ended {
                bail!("rank {rank} has ended");
            }
            let waited = self.group.changed.wait(exchange);
            exchange = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(exchange.gathered.clone())
    }

    /// Replaces values by their sums over all ranks.
    fn sum<const N: usize, T: Copy + std::ops::Add<Output = T>>(
        &self,
        values: &mut [T],
        to_bytes: impl Fn(T) -> [u8; N],
        from_bytes: impl Fn([u8; N]) -> T,
    ) -> Result<()> {
        let bytes = values.iter().flat_map(|value| to_bytes(*value)).collect();
        let all = self.exchange(bytes)?;
        if let Some(other) = all.iter().find(|bytes| bytes.len() != N * values.len()) {
            let count = other.len() / N;
            bail!(
                "a sum of {} values on one rank, {count} on another",
                values.len()
            );
        }
        let numbers = |bytes: &Vec<u8>| -> Vec<T> {
            let (values, _) = bytes.as_chunks::<N>();
            values.iter().map(|value| from_bytes(*value)).collect()
        };
        for (rank, others) in all.iter().enumerate() {
            for (value, other) in values.iter_mut().zip(numbers(others)) {
                *value = if rank == 0 { other } else { *value + other };
            }
        }
        Ok(())
    }
}

impl AllReduce for Threads {
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        self.sum(values, f64::to_le_bytes, f64::from_le_bytes)
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.group.size
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        self.sum(values, f32::to_le_bytes, f32::from_le_bytes)
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let own = match self.rank == root {
            true => std::mem::take(bytes),
            false => Vec::new(),
        };
        bytes.clone_from(&self.exchange(own)?[root]);
        Ok(())
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(self.exchange(bytes.to_vec())?.to_vec())
    }

    fn barrier(&self) -> Result<()> {
        self.exchange(Vec::new()).map(drop)
    }

    fn abort(&self, _code: u8) {
        self.lock().ended.get_or_insert(self.rank);
        self.group.changed.notify_all();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.abort(1);
    }
}
