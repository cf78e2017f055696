//! `train-densenet`: `mish train` for the DenseNet family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-densenet", "densenet", "densenet_bc100_12")
}
