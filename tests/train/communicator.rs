//! Data parallel training: ranks in threads against one process.

mod faults;
mod ranks;
mod session;
