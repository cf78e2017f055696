//! `train-shufflenet`: `mish train` for the ShuffleNet family.

use std::process::ExitCode;

/// As in `mish`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    candle_mish_cli::train_family("train-shufflenet", "shufflenet", "shufflenet_v2_x1_0")
}
