//! Writing results.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use candle_mish::checkpoint::write_atomically;
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

/// Writes a value as indented JSON to a file, atomically.
///
/// # Errors
/// If the file cannot be written.
pub fn json_file(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    write_atomically(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a value to stdout as indented JSON.
///
/// # Errors
/// If stdout is closed.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}
