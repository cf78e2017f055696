//! Ranks of MPI: processes on one computer or on many.

use std::fmt;
use std::thread::{self, ThreadId};

use ::mpi::Threading;
use ::mpi::collective::SystemOperation;
use ::mpi::environment::{Universe, library_version, processor_name};
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator as _, CommunicatorCollectives as _, Equivalence, Root as _};
use candle_core::{Device, Result, Tensor, bail};

use super::base::{Communicator, HandOver};
use crate::ops::AllReduce;

/// Values in one call of MPI, which counts them in a C int.
const LARGEST: usize = 1 << 28;

/// A rank of MPI's world communicator.
///
/// MPI is initialised for one thread, the one that called [`Mpi::start`], and finalised when this is
/// dropped. MPI's own errors end all ranks with a message of MPI.
pub struct Mpi {
    _universe: Universe,
    thread: ThreadId,
    rank: usize,
    size: usize,
}

/// Why MPI did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MpiError {
    /// MPI can be initialised once in a process.
    #[error("MPI has been initialised before in this process")]
    Initialised,
    /// The library has no support for programs with several threads.
    #[error("{library} does not allow other threads in the process (MPI_THREAD_FUNNELED)")]
    Threads {
        /// The name and version of the library.
        library: String,
    },
}

impl Mpi {
    /// Initialises MPI. This thread must make all collective calls.
    ///
    /// # Errors
    /// If MPI was initialised before, or does not support programs with threads.
    pub fn start() -> std::result::Result<Self, MpiError> {
        let started = ::mpi::initialize_with_threading(Threading::Funneled);
        let (universe, threading) = started.ok_or(MpiError::Initialised)?;
        if threading < Threading::Funneled {
            return Err(MpiError::Threads { library: library() });
        }
        let world = universe.world();
        let number = |number: i32| usize::try_from(number).unwrap_or_default();
        Ok(Self {
            rank: number(world.rank()),
            size: number(world.size()),
            _universe: universe,
            thread: thread::current().id(),
        })
    }

    /// The world communicator, in the thread that may use it.
    fn world(&self) -> Result<SimpleCommunicator> {
        if thread::current().id() != self.thread {
            bail!("MPI works in the thread that started it only");
        }
        Ok(SimpleCommunicator::world())
    }

    fn sum<T: Equivalence + Clone>(&self, values: &mut [T]) -> Result<()> {
        let world = self.world()?;
        for part in values.chunks_mut(LARGEST) {
            let own = part.to_vec();
            world.all_reduce_into(&own[..], part, SystemOperation::sum());
        }
        Ok(())
    }
}

/// The name and version of the MPI library, in one line.
pub fn library() -> String {
    short(&library_version().unwrap_or_default())
}

/// The name and version in the text of `MPI_Get_library_version`.
fn short(text: &str) -> String {
    // A description of the build follows after the first line or comma.
    let name = text.lines().next().unwrap_or_default();
    let name = name.split(',').next().unwrap_or_default();
    // MPICH writes "MPICH Version:", a tab and the number.
    let words = name.trim_end_matches('\0').split_whitespace();
    let words: Vec<&str> = words.filter(|word| *word != "Version:").collect();
    words.join(" ")
}

/// The name of this computer, as MPI knows it.
pub fn node() -> String {
    processor_name().unwrap_or_default()
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mpi(rank {} of {})", self.rank, self.size)
    }
}

impl AllReduce for Mpi {
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<()> {
        self.sum(values)
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        self.sum(values)
    }

    /// Sums each buffer while `body` continues, without blocking.
    fn all_reduce_during(
        &self,
        most: usize,
        body: &mut dyn FnMut(HandOver<'_>) -> Result<()>,
    ) -> Result<Vec<Tensor>> {
        let world = self.world()?;
        let mut buffers = vec![(Vec::<f32>::new(), Vec::<f32>::new()); most];
        let mut free = buffers.iter_mut();
        let mut devices = Vec::with_capacity(most);
        let ended = ::mpi::request::scope(|scope| {
            let mut requests = Vec::with_capacity(most);
            let ended = body(&mut |buffer: Tensor| {
                let Some((own, sums)) = free.next() else {
                    bail!("more than {most} buffers to sum");
                };
                let count = buffer.elem_count();
                if count > LARGEST {
                    bail!("a buffer of {count} values, more than {LARGEST}");
                }
                *own = buffer.to_vec1()?;
                sums.resize(count, 0.0f32);
                devices.push(buffer.device().clone());
                let sum = SystemOperation::sum();
                requests.push(world.immediate_all_reduce_into(scope, &own[..], &mut sums[..], sum));
                Ok(())
            });
            if ended.is_err() && !requests.is_empty() {
                // The other ranks may never join these sums, and they cannot be cancelled.
                if let Err(error) = &ended {
                    tracing::error!("{error}");
                }
                self.abort(1);
            }
            for request in requests {
                request.wait_without_status();
            }
            ended
        });
        ended?;
        let on_device = |((_, sums), device): ((_, Vec<f32>), Device)| {
            let count = sums.len();
            Tensor::from_vec(sums, count, &Device::Cpu)?.to_device(&device)
        };
        buffers.into_iter().zip(devices).map(on_device).collect()
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let world = self.world()?;
        let root = world.process_at_rank(i32::try_from(root).map_err(candle_core::Error::wrap)?);
        let mut length = bytes.len() as u64;
        root.broadcast_into(&mut length);
        let length = usize::try_from(length).map_err(candle_core::Error::wrap)?;
        bytes.resize(length, 0);
        for part in bytes.chunks_mut(LARGEST) {
            root.broadcast_into(part);
        }
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        self.world()?.barrier();
        Ok(())
    }

    fn abort(&self, code: u8) {
        SimpleCommunicator::world().abort(i32::from(code));
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // Finalising waits for the other ranks, which wait for this one.
        if thread::panicking() {
            self.abort(101);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn libraries_have_a_short_name() {
        let open_mpi = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, May 26, 2022";
        assert_eq!(short(open_mpi), "Open MPI v4.1.4");
        let mpich = "MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7 12:34:45 CDT 2022\n";
        assert_eq!(short(mpich), "MPICH 4.0.2");
        assert_eq!(short(""), "");
    }
}
