//! Atomic writes: a file has its old content or its complete new content.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The start of the names of temporary files.
const PREFIX: &str = ".write-";

/// Checks that [`write_atomically`] can write `path`, for a check before long work.
///
/// # Errors
/// `path` is a folder, or its folder does not exist or is not writable.
pub fn check_writable(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    tempfile::tempfile_in(folder_of(path)).map(drop)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file that appears under its name when it is complete: [`AtomicFile::commit`] renames a temporary
/// file in the same folder. Without it, nothing changes. Writes are buffered.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts a file that will replace `path`.
    ///
    /// # Errors
    /// The folder does not exist or is not writable.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The permissions of a new file under the umask. Temporary files are private by default.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.prefix(PREFIX).tempfile_in(folder_of(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            writer: BufWriter::new(file),
        })
    }

    /// Gives the complete file its name. After a power failure the file has its old content or its
    /// new content.
    ///
    /// # Errors
    /// The disk is full, or `path` cannot be replaced.
    pub fn commit(self) -> std::io::Result<()> {
        self.rename(|_| Ok(()))
    }

    /// Gives the complete file its name. If there is an old file, it becomes `previous`.
    ///
    /// # Errors
    /// The disk is full, or one of the files cannot be replaced.
    pub fn commit_keeping(self, previous: &Path) -> std::io::Result<()> {
        self.rename(|path| match std::fs::rename(path, previous) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    fn rename(self, before: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
        let file = self.writer.into_inner().map_err(|e| e.into_error())?;
        file.as_file().sync_all()?;
        before(&self.path)?;
        file.persist(&self.path).map_err(|e| e.error)?;
        sync_folder(folder_of(&self.path))
    }
}

/// Writes the names of the files in a folder to the disk.
///
/// # Errors
/// The disk fails. Systems that cannot write names separately do nothing.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    if !cfg!(unix) {
        // Windows does not open folders as files.
        return Ok(());
    }
    match std::fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some network file systems; folders that are writable and not readable.
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

/// Removes temporary files that a killed process left in `folder`. No other process may be writing
/// there.
///
/// # Errors
/// The folder cannot be read, or a file cannot be removed.
pub fn remove_temporary_files(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

/// Calls `fill` to write a temporary file in the folder of `path` and renames it to `path`. No reader
/// sees a partial file.
///
/// # Errors
/// `fill` fails, the folder is not writable, or the disk is full.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file)?;
    file.commit()
}
