//! Ctrl-C and the signals of schedulers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::failure::INTERRUPTED;

/// A flag that the first SIGINT (Ctrl-C), SIGTERM or SIGHUP sets. The command then saves its state and
/// ends. A second signal ends the process at once; files are then as before or complete.
///
/// # Errors
/// If the process cannot handle signals, or does already.
pub fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("cannot handle Ctrl-C")?;
    Ok(stop)
}
