//! How ranks without MPI exchange their first bytes: through a file that all of them see.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::checkpoint::write_atomically;

/// The time that the other ranks wait for rank 0.
const PATIENCE: Duration = Duration::from_secs(300);

/// Time between two looks at the file.
const POLL: Duration = Duration::from_millis(100);

/// Writes `bytes` for the other ranks. Rank 0 calls it and removes the file when all ranks have read it.
///
/// # Errors
/// If the file exists, which may be the one of another run, or cannot be written.
pub fn publish(file: &Path, bytes: &[u8]) -> Result<()> {
    if file.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    write_atomically(file, |out| out.write_all(bytes))
}

/// The bytes that rank 0 writes to the file, as soon as it exists.
///
/// # Errors
/// If it does not exist after five minutes, or cannot be read.
pub fn receive(file: &Path) -> Result<Vec<u8>> {
    let started = Instant::now();
    loop {
        match std::fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => return read,
        }
        if started.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let message = format!("rank 0 has not written it within {seconds} s");
            return Err(Error::new(ErrorKind::TimedOut, message));
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::{publish, receive};

    #[test]
    fn all_ranks_receive_what_rank_0_publishes_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("id");
        std::thread::scope(|scope| {
            let others = [0; 2].map(|_| scope.spawn(|| receive(&file)));
            publish(&file, &[7; 128]).expect("written");
            for other in others {
                let received = other.join().expect("no panic");
                assert_eq!(received.expect("read"), [7; 128]);
            }
        });
        let error = publish(&file, &[]).expect_err("of another run");
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    }
}
