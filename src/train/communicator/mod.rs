//! The processes of a data parallel run and their collective operations.
//!
//! A process is a rank, as in MPI. Rank 0 writes all files. [`Single`] is one process, `Mpi` (feature
//! `mpi`) the processes that `mpirun` or `srun` start, and [`Threads`] are the ranks of a test in one
//! process.

mod base;
pub mod launcher;
#[cfg(feature = "mpi")]
pub mod mpi;
mod single;
mod threads;

pub use base::{Communicator, HandOver};
pub use launcher::{LaunchError, Launched, Launcher};
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use single::Single;
pub use threads::Threads;
