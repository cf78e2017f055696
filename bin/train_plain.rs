//! `train-plain`: `mish train` for the plain networks of the Mish paper.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-plain", "plain", "cnn6")
}
