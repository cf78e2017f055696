//! Waiting for a run folder whose process may have died on another computer.

use std::thread::sleep;
use std::time::Duration;

use candle_mish::train::TrainError;

/// Time between two attempts.
const POLL: Duration = Duration::from_secs(5);

/// Repeats `open` while the run folder is leased to a process on another computer that gives no sign of
/// life, until the lease expires. A batch system may restart a job on another node.
///
/// # Errors
/// The error of `open`, if the process gives a sign of life or the error is another one.
pub(super) fn wait<T>(mut open: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut before = None;
    loop {
        let error = match open() {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let Some(TrainError::FolderLeased {
            folder,
            computer,
            silent,
            left,
        }) = error.downcast_ref()
        else {
            return Err(error);
        };
        match before {
            None => eprintln!(
                "run folder {} was in use on {computer} {} s ago: waiting up to {} s for a sign of life",
                folder.display(),
                silent.as_secs(),
                left.as_secs()
            ),
            Some(before) if *silent < before => return Err(error),
            Some(_) => {}
        }
        before = Some(*silent);
        sleep(POLL);
    }
}
