//! `train-resnet9`: `mish train` for the ResNet-9 family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-resnet9", "resnet9", "resnet9")
}
