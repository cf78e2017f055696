//! The processes of a data parallel run and their collective operations.
//!
//! A process is a rank, as in MPI. Rank 0 writes all files. [`Single`] is one process, `Mpi` (feature
//! `mpi`) the processes that `mpirun` or `srun` start, `Nccl` (feature `nccl`) processes with a GPU each,
//! and [`Threads`] are the ranks of a test in one process.

mod base;
pub mod launcher;
#[cfg(feature = "mpi")]
pub mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
pub mod rendezvous;
mod single;
mod threads;

pub use base::{Communicator, HandOver};
pub use launcher::{LaunchError, Launched, Launcher};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub use single::Single;
pub use threads::Threads;
