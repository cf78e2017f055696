//! Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::failure::INTERRUPTED;

/// What becomes true with the first Ctrl-C (or SIGTERM): the command then ends as soon as it has
/// saved what there is. A second one ends the process at once.
///
/// # Errors
/// If signals cannot be caught, or are caught already.
pub fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("Ctrl-C")?;
    Ok(stop)
}
