//! `train-mobilenet`: `mish train` for the MobileNet family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-mobilenet", "mobilenet", "mobilenetv2_100")
}
