//! `train-capsnet`: `mish train` for CapsNet.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-capsnet", "capsnet", "capsnet")
}
