//! The processes of a data parallel run and their collective operations.
//!
//! A process is a rank, as in MPI. Rank 0 writes all files. [`Single`] is one process, [`Threads`] are
//! the ranks of a test in one process.

mod base;
pub mod launcher;
mod single;
mod threads;

pub use base::Communicator;
pub use launcher::{LaunchError, Launched, Launcher};
pub use single::Single;
pub use threads::Threads;
