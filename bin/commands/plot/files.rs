//! Writing plots.

use std::path::Path;

use anyhow::Context as _;
use candle_mish::checkpoint::write_atomically;

/// Writes a file, or nothing if that fails.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, |file| file.write_all(content))
        .with_context(|| format!("cannot write {}", path.display()))
}
