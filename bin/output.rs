//! Writing results.

use std::io::Write;

use serde::Serialize;

/// Writes text to stdout.
///
/// # Errors
/// If stdout is closed, where `println!` would panic.
pub fn text(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes a value to stdout as indented JSON.
///
/// # Errors
/// If stdout is closed.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}
