//! Downloads of single files, verified before they enter the cache.
//!
//! The Hub's client stores every answer under the file's final name, even the text of an error. It
//! therefore downloads into a staging cache, a temporary folder on the same disk. A file moves to
//! its place in the cache once its size and hash match what the Hub announced.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::Duration;

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClientSync, HFError};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::error::HubError;
use super::kind::Kind;
use super::repository::{Message, Repository, commit, is_commit, offline};
use crate::lock::{Lock, TryLock, lock};

/// How long to wait for the Hub's listing if the cache has the file.
const REVALIDATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The start of the names of staging folders.
const STAGING: &str = ".download-";
/// The file in a staging folder that is locked during the download.
const LOCK: &str = ".lock";
/// The folder in a cache in which the client locks each file.
const CLIENT_LOCKS: &str = ".locks";
/// A younger staging folder may not have its lock yet.
const YOUNG: Duration = Duration::from_secs(60);

impl<K: Kind> Repository<K> {
    /// The path of `file` in the cache, after a download if the cache lacks it or has an older
    /// commit of the branch. If the Hub does not answer or the cache is not writable, the cached
    /// file is used. `progress` gets the bytes received and expected (0 if unknown).
    ///
    /// # Errors
    /// If the Hub does not have the file or does not answer, the download is damaged, or the cache
    /// is not writable. The cache then has no trace of the file.
    pub fn file(
        &self,
        file: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PathBuf, HubError> {
        let cached = self.cached_file(file);
        if let Some(path) = &cached
            && (is_commit(&self.revision) || offline())
        {
            return Ok(path.clone());
        }
        if offline() {
            let what = format!("{file} of {}", self.location());
            return Err(HubError::Offline { what });
        }
        let (commit, has) = match (self.revalidate(cached.is_some()), cached.clone()) {
            (Ok(listing), _) => listing,
            // The branch or tag has been deleted.
            (Err(error @ HubError::NoRevision { .. }), _) | (Err(error), None) => {
                return Err(error);
            }
            (Err(error), Some(path)) => {
                tracing::info!("using the cached {file}: {error}");
                return Ok(path);
            }
        };
        // This error names the missing file and the existing ones. The answer to a request for the
        // file would not.
        if !has.iter().any(|name| name == file) {
            return Err(HubError::NoFile {
                location: self.location(),
                file: file.to_owned(),
                has,
            });
        }
        let Some(path) = cached else {
            return self.download(file, progress);
        };
        if self::commit(&path, file) == commit {
            return Ok(path);
        }
        match self.download(file, progress) {
            Err(error @ HubError::CacheNotWritable { .. }) => {
                let location = self.location();
                tracing::warn!("using the cached {file} of {location}, not the newest: {error}");
                Ok(path)
            }
            other => other,
        }
    }

    /// The Hub's listing, with a short timeout if the cached file can replace the answer.
    fn revalidate(&self, cached: bool) -> Result<(Option<String>, Vec<String>), HubError> {
        if !cached {
            return self.listing(self.retry);
        }
        let retry = self.retry.at_most(REVALIDATION_TIMEOUT);
        let place = (self.owner.as_str(), self.name.as_str());
        Self::new(place, Some(&self.revision), retry)?.listing(retry)
    }

    /// Downloads a file that the Hub lists.
    pub(crate) fn download(
        &self,
        file: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<PathBuf, HubError> {
        for wait in self.retry.waits() {
            match self.attempt(file, progress) {
                Err(Failure::Temporary(error)) => {
                    tracing::info!("{error}; trying again");
                    std::thread::sleep(wait);
                }
                Err(Failure::Final(error)) => return Err(error),
                Ok(path) => return Ok(path),
            }
        }
        self.attempt(file, progress)
            .map_err(|(Failure::Temporary(error) | Failure::Final(error))| error)
    }

    fn attempt(&self, file: &str, progress: &mut dyn FnMut(u64, u64)) -> Result<PathBuf, Failure> {
        let cache = self.settings.cache.as_path();
        let io = |error: std::io::Error| Failure::Final(self.not_writable(&error));
        std::fs::create_dir_all(cache).map_err(io)?;
        sweep(cache);
        let mut staging = tempfile::Builder::new();
        let staging = staging.prefix(STAGING).tempdir_in(cache).map_err(io)?;
        let _locks = Locks::new(staging.path(), File::try_lock).map_err(io)?;
        self.lend(file, cache, staging.path());
        let client = self.settings.client(staging.path(), self.retry.retries);
        let client = client
            .and_then(HFClientSync::from_inner)
            .map_err(|error| Failure::Final(self.failure(&error)))?;
        let api = K::repository(&client, &self.owner, &self.name);
        let (name, revision) = (file.to_owned(), self.revision.clone());
        let mut announced = 0;
        let mut note = |received, expected| {
            announced = expected;
            progress(received, expected);
        };
        let result = self.watch(self.retry.timeout, &mut note, move |sender| {
            api.download_file()
                .filename(name)
                .revision(revision)
                .progress(Listener::new(sender))
                .send()
        });
        let staged = result.map_err(Failure::Final)?.map_err(|error| {
            match (&error, self.failure(&error)) {
                // Of the staging folder.
                (HFError::Io(error), _) => Failure::Final(self.not_writable(error)),
                // The listing needed no token.
                (_, HubError::Unauthorized { .. }) => Failure::Final(self.gated()),
                (_, meaning) => Failure::new(&error, meaning),
            }
        })?;
        if let Err(failure) = self.verify(file, &staged, announced) {
            return Err(match self.refusal(file) {
                Some(refused) => Failure::Final(refused),
                None => failure,
            });
        }
        self.publish(&staged, staging.path(), cache).map_err(io)
    }

    fn not_writable(&self, error: &std::io::Error) -> HubError {
        HubError::CacheNotWritable {
            folder: self.settings.cache.clone(),
            problem: error.to_string(),
        }
    }

    /// Links the content of an older commit into the staging cache. The client then downloads the
    /// file only if it has changed.
    fn lend(&self, file: &str, cache: &Path, staging: &Path) {
        let lent = || -> std::io::Result<()> {
            let Some(cached) = self.cached_file(file) else {
                return Ok(());
            };
            let blob = std::fs::canonicalize(cached)?;
            let Ok(place) = blob.strip_prefix(std::fs::canonicalize(cache)?) else {
                return Ok(());
            };
            let place = staging.join(place);
            std::fs::create_dir_all(place.parent().unwrap_or(staging))?;
            std::fs::hard_link(&blob, place)
        };
        if let Err(error) = lent() {
            tracing::debug!("downloading all of {file}: {error}");
        }
    }

    /// The Hub's error if it refuses the file: the client stores the text of such an answer as if
    /// it were the file.
    fn refusal(&self, file: &str) -> Option<HubError> {
        let (api, name, revision) = (self.api.clone(), file.to_owned(), self.revision.clone());
        let probe = move |_| {
            let request = api.download_file_to_bytes().filename(name);
            request.revision(revision).range(0..1).send().map(|_| ())
        };
        let answer = self.watch(self.retry.timeout, &mut |_, _| {}, probe);
        let error = answer.ok()?.err()?;
        Some(HubError::Refused {
            location: self.location(),
            file: file.to_owned(),
            status: status(&error)?,
        })
    }

    /// Compares a file with the announced size, if there is one, and with its hash. The name of its
    /// blob is the hash: SHA-256, or git's SHA-1 for small files.
    fn verify(&self, file: &str, staged: &Path, announced: u64) -> Result<(), Failure> {
        let damaged = |problem: String| HubError::Damaged {
            location: self.location(),
            file: file.to_owned(),
            problem,
        };
        let io = |error: std::io::Error| Failure::Final(self.problem(error.to_string()));
        let blob = std::fs::canonicalize(staged).map_err(io)?;
        let size = blob.metadata().map_err(io)?.len();
        if announced > 0 && size != announced {
            let problem = format!("{size} of {announced} bytes arrived");
            return Err(Failure::Temporary(damaged(problem)));
        }
        let etag = blob.file_name().and_then(|name| name.to_str());
        let is_hash = |etag: &&str| etag.bytes().all(|b| b.is_ascii_hexdigit());
        let expected = etag.filter(is_hash).unwrap_or_default();
        let (name, found) = match expected.len() {
            64 => ("SHA-256", digest(Sha256::new(), &blob)),
            40 => {
                let header = format!("blob {size}\0");
                ("git SHA-1", digest(Sha1::new_with_prefix(header), &blob))
            }
            _ => {
                tracing::debug!("the Hub gives no hash of {file}");
                return Ok(());
            }
        };
        let found = found.map_err(io)?;
        if !found.eq_ignore_ascii_case(expected) {
            let problem = format!("its {name} is {found}, not {expected}");
            return Err(Failure::Final(damaged(problem)));
        }
        Ok(())
    }

    /// Moves the files below `staging` to the same place below `cache`: first the content, then
    /// the links to it.
    fn publish(&self, staged: &Path, staging: &Path, cache: &Path) -> std::io::Result<PathBuf> {
        let place = |path: &Path| match path.strip_prefix(staging) {
            Ok(rest) => Ok(cache.join(rest)),
            Err(_) => Err(std::io::Error::other(
                "the download is outside its staging folder",
            )),
        };
        let replace = |from: &Path, to: &Path| {
            std::fs::create_dir_all(to.parent().unwrap_or(cache))?;
            std::fs::rename(from, to)
        };
        let root = std::fs::canonicalize(staging)?;
        let blob = std::fs::canonicalize(staged)?;
        if let (Ok(rest), true) = (blob.strip_prefix(&root), staged.is_symlink()) {
            replace(&blob, &cache.join(rest))?;
        }
        let path = place(staged)?;
        replace(staged, &path)?;
        // The folder of the repository: above snapshots, the commit and the file's own folders.
        let repository = staged
            .strip_prefix(staging)
            .ok()
            .and_then(|rest| rest.components().next());
        if let Some(repository) = repository {
            let reference = Path::new(repository.as_os_str())
                .join("refs")
                .join(&self.revision);
            // A commit has no reference.
            if staging.join(&reference).is_file() {
                replace(&staging.join(&reference), &cache.join(&reference))?;
            }
        }
        Ok(path)
    }
}

/// The locks that a download needs.
struct Locks {
    /// Protects the staging folder from [`sweep`]. The system releases the lock when the process
    /// ends, even if it is killed.
    _staging: File,
    /// The folder of the client's own locks, if it is not in the staging folder.
    _client: Option<TempDir>,
}

impl Locks {
    /// Locks the folder `staging`. If its file system has no locks, the folder stays after the
    /// process is killed. The client refuses to work without locks, so its own are then in the
    /// system's temporary folder.
    fn new(staging: &Path, try_lock: TryLock) -> std::io::Result<Self> {
        let file = File::create(staging.join(LOCK))?;
        let client = match lock(&file, try_lock) {
            Lock::Held | Lock::InUse => None,
            Lock::Unavailable(error) => {
                tracing::warn!(
                    "cannot lock {} ({error}): if the download is killed, delete that folder",
                    staging.display()
                );
                let folder = tempfile::tempdir()?;
                link(folder.path(), &staging.join(CLIENT_LOCKS))?;
                Some(folder)
            }
        };
        Ok(Self {
            _staging: file,
            _client: client,
        })
    }
}

#[cfg(unix)]
fn link(folder: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(folder, place)
}

/// Other systems lock files on every file system.
#[cfg(not(unix))]
fn link(_folder: &Path, _place: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Removes staging folders that killed processes have left in the cache.
fn sweep(cache: &Path) {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let staging = |name: &std::ffi::OsStr| name.to_str().is_some_and(|n| n.starts_with(STAGING));
    for entry in entries.filter(|entry| staging(&entry.file_name())) {
        let path = entry.path();
        let age = entry.metadata().and_then(|data| data.modified());
        let age = age.map(|time| time.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age < YOUNG) {
            continue;
        }
        // NFS locks only files that are open for writing.
        let abandoned = match File::options().write(true).open(path.join(LOCK)) {
            Ok(file) => matches!(lock(&file, File::try_lock), Lock::Held),
            // Killed before it locked the folder, or left by a version without locks.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if abandoned {
            tracing::info!("removing an abandoned download: {}", path.display());
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::debug!("{}: {error}", path.display());
            }
        }
    }
}

/// The HTTP status of an error.
fn status(error: &HFError) -> Option<String> {
    let context = match error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context }
        | HFError::RateLimited { context, .. } => context,
        HFError::RepoNotFound { context, .. }
        | HFError::RevisionNotFound { context, .. }
        | HFError::EntryNotFound { context, .. } => context.as_ref()?,
        _ => return None,
    };
    Some(context.status.to_string())
}

/// Why an attempt failed.
enum Failure {
    /// The next attempt may succeed.
    Temporary(HubError),
    /// The next attempt would fail as well.
    Final(HubError),
}

impl Failure {
    /// The client itself repeats requests that are refused or get a server error, but not those
    /// whose answer breaks off.
    fn new(error: &HFError, meaning: HubError) -> Self {
        match error {
            HFError::Request { source, .. } if !source.is_connect() => Self::Temporary(meaning),
            _ => Self::Final(meaning),
        }
    }
}

/// Forwards the client's progress.
struct Listener<R> {
    sender: Sender<Message<R>>,
    expected: Mutex<u64>,
}

impl<R> Listener<R> {
    fn new(sender: Sender<Message<R>>) -> Self {
        Self {
            sender,
            expected: Mutex::new(0),
        }
    }
}

impl<R: Send> ProgressHandler for Listener<R> {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else {
            return;
        };
        let mut expected = self.expected.lock().unwrap_or_else(|e| e.into_inner());
        let received = match event {
            DownloadEvent::Start { total_bytes, .. } => {
                *expected = *total_bytes;
                0
            }
            DownloadEvent::Progress { files } => files.iter().map(|f| f.bytes_completed).sum(),
            DownloadEvent::AggregateProgress {
                bytes_completed, ..
            } => *bytes_completed,
            DownloadEvent::Complete => *expected,
        };
        // The receiver may have given up.
        let _ = self.sender.send(Message::Bytes(received, *expected));
    }
}

/// Feeds a file to `hash` and returns the result in hexadecimal.
fn digest(mut hash: impl Digest, path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let bytes = hash.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{File, TryLockError};

    use super::{CLIENT_LOCKS, LOCK, Locks};

    #[test]
    fn without_locks_those_of_the_client_are_in_the_temporary_folder() {
        // As NFS without its lock service.
        let no_locks = |_: &File| Err(TryLockError::Error(std::io::Error::from_raw_os_error(37)));
        let staging = tempfile::tempdir().expect("a folder");
        let locks = Locks::new(staging.path(), no_locks).expect("usable");
        let link = std::fs::read_link(staging.path().join(CLIENT_LOCKS)).expect("a link");
        assert!(link.is_dir() && !link.starts_with(staging.path()));
        // What the client does.
        let folder = staging.path().join(CLIENT_LOCKS).join("models--a--b");
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = File::create(folder.join("etag.lock")).expect("a file");
        file.lock().expect("a lock");
        drop(locks);
        assert!(!link.exists());
        assert!(staging.path().join(LOCK).is_file());
    }

    #[test]
    fn with_locks_those_of_the_client_are_in_its_cache() {
        let staging = tempfile::tempdir().expect("a folder");
        let _locks = Locks::new(staging.path(), File::try_lock).expect("locked");
        assert!(!staging.path().join(CLIENT_LOCKS).exists());
    }
}
