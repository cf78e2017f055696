//! `train-efficientnet`: `mish train` for the EfficientNet family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-efficientnet", "efficientnet", "efficientnet_b0")
}
