//! Leases of run folders, against processes on other computers.
//!
//! A lock of the system is released when its process dies, but not every network file system carries it
//! to other computers: NFS without its lock service, or mounted with `nolock` or `local_lock`, locks
//! each computer for itself. So a run folder also has a lease: a file that its process writes again
//! every few seconds. A process that dies stops writing, and after a while another one takes the
//! lease over. This needs only what every file system has: exclusive creation of files, and times of
//! modification.
//!
//! A lease is a file `.lease-N`. To take over `.lease-N`, a process creates `.lease-(N+1)`, which
//! succeeds in one process only, and removes the old one. A holder that was suspended for too long
//! finds its file gone or a higher number, and has lost the folder.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// The start of the names of lease files.
const PREFIX: &str = ".lease-";

/// The time between two signs of life of a lease.
const BEAT: Duration = Duration::from_secs(20);

/// A lease without a sign of life for this time can be taken over. Long enough for a network file
/// system that does not answer for a while.
pub const EXPIRY: Duration = Duration::from_secs(180);

/// The process that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The name of the computer.
    computer: String,
    /// Differs between computers, and between two starts of one computer.
    boot: String,
    process: u32,
}

impl Holder {
    /// This process.
    pub fn this_process() -> Self {
        let computer = gethostname::gethostname().to_string_lossy().into_owned();
        // Containers on one computer share it, as they share the locks of its files.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self {
            boot: boot.map_or(computer.clone(), |boot| boot.trim().to_owned()),
            process: std::process::id(),
            computer,
        }
    }
}

/// The result of an attempt to take a lease.
#[derive(Debug)]
pub enum Attempt {
    Held(Lease),
    /// A process holds it, or did so until it died.
    InUse {
        /// The name of its computer.
        computer: String,
        /// The time since its last sign of life.
        silent: Duration,
    },
}

/// A lease of a folder, renewed by a thread until it is dropped.
#[derive(Debug)]
pub struct Lease {
    hold: Arc<Mutex<Hold>>,
    /// Dropped to end the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lease {
    /// Tries to take the lease of `folder`. If `alone`, no other process of this computer uses the folder,
    /// so that a lease of this computer is one of a dead process.
    ///
    /// # Errors
    /// If files in the folder cannot be read or written.
    pub fn take(folder: &Path, holder: &Holder, alone: bool) -> io::Result<Attempt> {
        let mut number = 0;
        if let Some(last) = numbers(folder)?.pop() {
            let path = file_of(folder, last);
            let (other, silent) = match read(folder, &path) {
                Ok(found) => found,
                // Its process has ended in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => (None, EXPIRY),
                Err(error) => return Err(error),
            };
            let same_computer = other.as_ref().is_some_and(|it| it.boot == holder.boot);
            if silent < EXPIRY && !(alone && same_computer) {
                let computer =
                    other.map_or_else(|| "another computer".to_owned(), |it| it.computer);
                return Ok(Attempt::InUse { computer, silent });
            }
            number = last;
        }
        match Hold::create(folder, holder, number + 1)? {
            Some(hold) => Ok(Attempt::Held(Self::renewed(hold, BEAT))),
            // Another process was faster.
            None => Ok(Attempt::InUse {
                computer: "another computer".to_owned(),
                silent: Duration::ZERO,
            }),
        }
    }

    /// Renews a lease from now on, at this interval.
    fn renewed(hold: Hold, interval: Duration) -> Self {
        let hold = Arc::new(Mutex::new(hold));
        let (running, ended) = mpsc::channel::<()>();
        let renewed = hold.clone();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                lock(&renewed).beat();
            }
        });
        Self {
            hold,
            running: Some(running),
            thread: Some(thread),
        }
    }

    /// Whether the lease still belongs to this process. Looks at the folder if the last look is older
    /// than a few signs of life, as after a suspension.
    pub fn is_held(&self) -> bool {
        let mut hold = lock(&self.hold);
        if !hold.lost && hold.seen.elapsed().is_ok_and(|time| time < 2 * BEAT) {
            return true;
        }
        hold.beat();
        !hold.lost
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to report.
            let _ = thread.join();
        }
        let hold = lock(&self.hold);
        if !hold.lost {
            // If it stays, the lease ends with its expiry.
            let _ = std::fs::remove_file(file_of(&hold.folder, hold.number));
        }
    }
}

fn lock(hold: &Mutex<Hold>) -> MutexGuard<'_, Hold> {
    hold.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of a lease.
#[derive(Debug)]
struct Hold {
    folder: PathBuf,
    number: u64,
    file: File,
    text: String,
    /// The last time that the lease belonged to this process.
    seen: SystemTime,
    /// Whether another process has taken it over. This does not change back.
    lost: bool,
}

impl Hold {
    /// Creates lease `number` and removes the one before it, unless another process has a lease.
    fn create(folder: &Path, holder: &Holder, number: u64) -> io::Result<Option<Self>> {
        let path = file_of(folder, number);
        let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut hold = Self {
            folder: folder.to_path_buf(),
            number,
            file,
            text: serde_json::to_string(holder)? + "\n",
            seen: SystemTime::now(),
            lost: false,
        };
        if let Err(error) = hold.write() {
            // Others would wait for the end of an empty lease.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        // The list of files that this process saw may have been an old one.
        if numbers(folder)?
            .iter()
            .any(|other| !(number - 1..=number).contains(other))
        {
            std::fs::remove_file(path)?;
            return Ok(None);
        }
        match std::fs::remove_file(file_of(folder, number - 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(Some(hold)),
        }
    }

    /// Gives a sign of life if the lease still belongs to this process.
    fn beat(&mut self) {
        // If the file system does not answer, the next sign of life may succeed.
        let _ = self.try_beat();
    }

    fn try_beat(&mut self) -> io::Result<()> {
        self.lost = self.lost || numbers(&self.folder)?.last() != Some(&self.number);
        if !self.lost {
            self.write()?;
            self.seen = SystemTime::now();
        }
        Ok(())
    }

    /// Writes the file, so that the file system sets its time.
    fn write(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(self.text.as_bytes())?;
        sync(&self.file)
    }
}

/// Sends a file to the file system, which then sets its time. Some FUSE file systems do so without being
/// asked, and refuse to be.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

fn file_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number}"))
}

/// The numbers of the leases in a folder, ascending.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Who holds a lease, if its file is complete, and the time since the last sign of life.
fn read(folder: &Path, path: &Path) -> io::Result<(Option<Holder>, Duration)> {
    // Opening a file on NFS gets its present time of modification from the server.
    let file = File::open(path)?;
    let written = file.metadata()?.modified()?;
    let holder = serde_json::from_reader(file).ok();
    // Both times come from the file system, whose clock may differ from this computer's.
    let mut probe = tempfile::Builder::new()
        .prefix(".clock-")
        .tempfile_in(folder)?;
    probe.write_all(b"\n")?;
    sync(probe.as_file())?;
    let now = probe.as_file().metadata()?.modified()?;
    Ok((holder, now.duration_since(written).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::{Attempt, BEAT, EXPIRY, Holder, Lease, file_of, lock, numbers};

    fn holder(computer: &str) -> Holder {
        Holder {
            computer: computer.to_owned(),
            boot: format!("boot of {computer}"),
            process: 1,
        }
    }

    fn take(folder: &Path, computer: &str, alone: bool) -> Attempt {
        Lease::take(folder, &holder(computer), alone).expect("a writable folder")
    }

    fn held(attempt: Attempt) -> Lease {
        match attempt {
            Attempt::Held(lease) => lease,
            in_use @ Attempt::InUse { .. } => panic!("{in_use:?}"),
        }
    }

    fn in_use(attempt: Attempt) -> String {
        match attempt {
            Attempt::InUse { computer, silent } => {
                assert!(silent < EXPIRY);
                computer
            }
            Attempt::Held(lease) => panic!("{lease:?}"),
        }
    }

    /// Makes a lease look as if its process had been silent for this time.
    fn silence(folder: &Path, number: u64, time: Duration) {
        let path = file_of(folder, number);
        let file = std::fs::OpenOptions::new().write(true).open(path);
        let past = SystemTime::now() - time;
        file.and_then(|file| file.set_modified(past))
            .expect("a lease");
    }

    #[test]
    fn one_process_has_the_lease_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = held(take(folder.path(), "a", true));
        assert_eq!(in_use(take(folder.path(), "b", true)), "a");
        assert!(first.is_held());
        drop(first);
        assert!(numbers(folder.path()).expect("read").is_empty());
        drop(held(take(folder.path(), "b", true)));
    }

    #[test]
    fn a_process_that_died_blocks_its_own_computer_only_if_the_system_has_no_locks() {
        let folder = tempfile::tempdir().expect("a folder");
        std::mem::forget(held(take(folder.path(), "a", true)));
        assert_eq!(in_use(take(folder.path(), "a", false)), "a");
        assert_eq!(in_use(take(folder.path(), "b", true)), "a");
        let next = held(take(folder.path(), "a", true));
        assert!(next.is_held());
        assert_eq!(numbers(folder.path()).expect("read"), [2]);
    }

    #[test]
    fn a_silent_lease_is_taken_over_once_and_its_holder_notices() {
        let folder = tempfile::tempdir().expect("a folder");
        let suspended = held(take(folder.path(), "a", true));
        silence(folder.path(), 1, EXPIRY - Duration::from_secs(60));
        assert_eq!(in_use(take(folder.path(), "b", true)), "a");
        silence(folder.path(), 1, EXPIRY + Duration::from_secs(60));
        let next = held(take(folder.path(), "b", true));
        assert_eq!(in_use(take(folder.path(), "c", true)), "b");
        // Within two signs of life it does not look.
        assert!(suspended.is_held());
        lock(&suspended.hold).seen -= 3 * BEAT;
        assert!(!suspended.is_held());
        drop(suspended);
        assert!(next.is_held());
        lock(&next.hold).seen -= 3 * BEAT;
        assert!(next.is_held());
        assert_eq!(numbers(folder.path()).expect("read"), [2]);
    }

    #[test]
    fn a_sign_of_life_keeps_a_lease() {
        let folder = tempfile::tempdir().expect("a folder");
        let lease = held(take(folder.path(), "a", true));
        silence(folder.path(), 1, 2 * EXPIRY);
        lock(&lease.hold).beat();
        assert_eq!(in_use(take(folder.path(), "b", true)), "a");
    }

    #[test]
    fn an_old_list_of_files_does_not_give_a_second_lease() {
        let folder = tempfile::tempdir().expect("a folder");
        let _newest = held(take(folder.path(), "a", true));
        // A process that saw lease 4, which has been released since.
        let late = super::Hold::create(folder.path(), &holder("b"), 5).expect("a writable folder");
        assert!(late.is_none());
        assert_eq!(numbers(folder.path()).expect("read"), [1]);
    }

    #[test]
    fn many_processes_take_over_a_lease_in_one_only() {
        let folder = tempfile::tempdir().expect("a folder");
        std::mem::forget(held(take(folder.path(), "a", true)));
        silence(folder.path(), 1, 2 * EXPIRY);
        let attempts: Vec<Attempt> = std::thread::scope(|scope| {
            let attempt = |i| {
                let folder = folder.path();
                scope.spawn(move || take(folder, &format!("b{i}"), true))
            };
            let threads: Vec<_> = (0..8).map(attempt).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|attempt| attempt.expect("no panic")).collect()
        });
        let held = attempts.iter().filter(|it| matches!(it, Attempt::Held(_)));
        assert_eq!(held.count(), 1);
    }

    #[test]
    fn a_damaged_lease_is_that_of_an_unknown_computer() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(file_of(folder.path(), 3), "{").expect("written");
        assert_eq!(in_use(take(folder.path(), "a", true)), "another computer");
    }
}
