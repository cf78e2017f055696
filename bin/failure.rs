//! How a command ends: the exit code and the one line on stderr.

use std::fmt;
use std::process::ExitCode;

/// What to do after a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Everything asked for was done.
    Complete,
    /// Ctrl-C; what there was is saved.
    Interrupted,
}

/// The exit code of an interrupted command: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// A command line that cannot be carried out, whatever the files and the machine.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A [`Usage`] error as `anyhow` carries it.
pub fn usage(message: impl fmt::Display) -> anyhow::Error {
    Usage(message.to_string()).into()
}

/// Turns a result into an exit code: 0 done, 1 failed, 2 usage, 130 interrupted after saving.
pub fn exit_code(result: anyhow::Result<Done>) -> ExitCode {
    let error = match result {
        Ok(Done::Complete) => return ExitCode::SUCCESS,
        Ok(Done::Interrupted) => return ExitCode::from(INTERRUPTED),
        Err(error) => error,
    };
    // A reader that has seen enough (`mish models | head`) is no failure.
    let closed = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
    if closed {
        return ExitCode::SUCCESS;
    }
    tracing::debug!("{error:?}");
    eprintln!("error: {}", one_line(&format!("{error:#}")));
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// The message of an error of clap's in one line, without the usage that follows it.
pub fn clap_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let parts = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty());
    one_line(&parts.collect::<Vec<_>>().join("; "))
}

/// A message in one line, without the backtrace that Candle adds below it where one is wanted.
pub fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("0: "));
    let lines = lines.filter(|line| !line.is_empty());
    lines.take(3).collect::<Vec<_>>().join("; ")
}
