//! `train-efficientnet`: `mish train` for the EfficientNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "efficientnet_b0")
}
