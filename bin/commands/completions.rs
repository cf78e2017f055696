//! `mish completions`: completion scripts for shells.

use clap_complete::Shell;

use crate::failure::Done;
use crate::output;

/// Flags of `mish completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell to complete in
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// If stdout is closed.
pub fn run(args: &CompletionsArgs, mut command: clap::Command) -> anyhow::Result<Done> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "mish", &mut script);
    output::text(&String::from_utf8_lossy(&script))?;
    Ok(Done::Complete)
}
