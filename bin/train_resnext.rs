//! `train-resnext`: `mish train` for the ResNeXt family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-resnext", "resnext", "resnext50_32x4d")
}
