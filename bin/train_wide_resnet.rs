//! `train-wide_resnet`: `mish train` for the Wide ResNet family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-wide_resnet", "wide_resnet", "wrn10_2")
}
