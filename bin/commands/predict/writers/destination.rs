//! A file that appears when it is complete, or stdout.

use std::io::{BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use candle_mish::checkpoint::AtomicFile;

/// Where results go.
pub(super) enum Destination {
    Stdout(BufWriter<Stdout>),
    File(AtomicFile, PathBuf),
}

impl Destination {
    /// A file, or stdout without one.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file else {
            return Ok(Self::Stdout(BufWriter::new(std::io::stdout())));
        };
        let file = AtomicFile::create(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(file, path.to_path_buf()))
    }

    /// Passes on what stdout's reader may wait for.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(super) fn pass_on(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(out) => Ok(out.flush()?),
            Self::File(..) => Ok(()),
        }
    }

    /// Completes the results.
    ///
    /// # Errors
    /// If the disk is full or stdout is closed.
    pub(super) fn commit(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut out) => Ok(out.flush()?),
            Self::File(file, path) => file
                .commit()
                .with_context(|| format!("cannot write {}", path.display())),
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file, _) => file.flush(),
        }
    }
}
