//! Files that appear whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

/// Finds out whether [`write_atomically`] could write `path`: better before long work than after it.
///
/// # Errors
/// If `path` is a folder, or its folder is not there or not writable.
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

/// Lets `fill` write a temporary file beside `path` and renames it to `path`, so that nobody ever
/// sees a part of it.
///
/// # Errors
/// Those of `fill`, and when the folder is not writable.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The rights of any new file, less the umask; temporary files are private otherwise.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.prefix(".write-").tempfile_in(folder_of(path))?;
    let mut writer = BufWriter::new(file);
    fill(&mut writer)?;
    let file = writer.into_inner().map_err(|e| e.into_error())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}
