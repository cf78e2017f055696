//! Destinations of `tracing` events: stderr, above the progress bars, and a log file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use indicatif::MultiProgress;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

use crate::failure::with_flags;

/// Target of the lines of a training run, which are printed to stderr in another way.
pub const RUN: &str = "run";

/// Sets up logging. `verbose` 0 shows warnings on stderr, 1 information, 2 details, 3 everything, and
/// `None` errors only.
/// `RUST_LOG` overrides it. The log file gets at least information.
///
/// # Errors
/// If the log file cannot be opened or `RUST_LOG` is not valid.
pub fn init(verbose: Option<u8>, file: Option<&Path>, bars: &MultiProgress) -> anyhow::Result<()> {
    let shown = verbose;
    let verbose = verbose.unwrap_or(0);
    let level = |verbose: u8| match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = |level: LevelFilter| {
        let builder = EnvFilter::builder().with_default_directive(level.into());
        builder.from_env().context("RUST_LOG")
    };
    let bars = bars.clone();
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(move || WithFlags(AboveBars(bars.clone())))
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_target(verbose > 1)
        .without_time()
        .with_filter(
            filter(shown.map_or(LevelFilter::ERROR, level))?.and(filter_fn(move |event| {
                let target = event.target();
                // Our error message covers what the Hub's client logs about a failure.
                target != RUN && (verbose > 0 || !target.starts_with("hf_hub"))
            })),
        );
    let file = match file {
        None => None,
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file =
                file.with_context(|| format!("cannot open --log-file {}", path.display()))?;
            let file = Arc::new(file);
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(move || WithFlags(Arc::clone(&file)))
                .with_ansi(false)
                .with_filter(filter(level(verbose.max(1)))?);
            Some(layer)
        }
    };
    tracing_subscriber::registry()
        .with(stderr)
        .with(file)
        .try_init()
        .context("cannot set up logging")
}

/// Writes each event with the flags of the library's arguments that it names.
struct WithFlags<W>(W);

impl<W: Write> Write for WithFlags<W> {
    /// `bytes` is a whole event.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(with_flags(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Stderr. Progress bars are hidden while a line is written.
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
