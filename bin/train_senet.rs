//! `train-senet`: `mish train` for the SE-Net family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-senet", "senet", "seresnet18")
}
