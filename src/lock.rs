//! Locks of files against other processes.

use std::fs::{File, TryLockError};
use std::io;

/// The result of an attempt to lock a file.
#[derive(Debug)]
pub(crate) enum Lock {
    /// This process has the lock until it closes the file or ends.
    Held,
    /// Another process has the lock.
    InUse,
    /// The file cannot be locked: some network and FUSE file systems have no locks.
    Unavailable(io::Error),
}

/// How to try to lock a file: [`File::try_lock`], or a replacement in tests.
pub(crate) type TryLock = fn(&File) -> Result<(), TryLockError>;

/// Tries to lock `file` without waiting.
///
/// File systems report a missing lock service with different errors (ENOLCK, ENOSYS, EOPNOTSUPP, …),
/// so every error except a lock of another process is [`Lock::Unavailable`].
pub(crate) fn lock(file: &File, try_lock: TryLock) -> Lock {
    match try_lock(file) {
        Ok(()) => Lock::Held,
        Err(TryLockError::WouldBlock) => Lock::InUse,
        Err(TryLockError::Error(error)) => Lock::Unavailable(error),
    }
}
