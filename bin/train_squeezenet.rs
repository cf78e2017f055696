//! `train-squeezenet`: `mish train` for the SqueezeNet family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-squeezenet", "squeezenet", "squeezenet1_1")
}
