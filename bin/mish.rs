//! `mish`: train, evaluate and compare image classifiers with any activation.

use std::process::ExitCode;

/// Activations are large and short-lived: an allocator that keeps their memory spares the page
/// faults of handing it back to the system after each one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::mish()
}
