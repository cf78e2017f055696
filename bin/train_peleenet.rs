//! `train-peleenet`: `mish train` for PeleeNet.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-peleenet", "peleenet", "peleenet")
}
