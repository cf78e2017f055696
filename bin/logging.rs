//! Where `tracing` events go: stderr, around the progress bars, and a log file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use indicatif::MultiProgress;
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

/// Events of this target are the run's lines, which stderr shows by other means.
pub const RUN: &str = "run";

/// Sets up logging. `verbose` 0 shows warnings on stderr, 1 information, 2 details, 3
/// everything; `RUST_LOG` has the last word. The log file gets information at least.
pub fn init(verbose: u8, file: Option<&Path>, bars: &MultiProgress) -> anyhow::Result<()> {
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
        .with_writer(move || AroundBars(bars.clone()))
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_target(verbose > 1)
        .without_time()
        .with_filter(filter(level(verbose))?.and(filter_fn(move |event| {
            let target = event.target();
            // What the Hub's client logs of a failure, our own message says in a line.
            target != RUN && (verbose > 0 || !target.starts_with("hf_hub"))
        })));
    let file = match file {
        None => None,
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.with_context(|| format!("--log-file {}", path.display()))?;
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(Mutex::new(file))
                .with_ansi(false)
                .with_filter(filter(level(verbose.max(1)))?);
            Some(layer)
        }
    };
    tracing_subscriber::registry()
        .with(stderr)
        .with(file)
        .try_init()
        .context("logging")
}

/// Stderr, with the progress bars out of the way for the time of a line.
struct AroundBars(MultiProgress);

impl Write for AroundBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
