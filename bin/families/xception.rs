//! `train-xception`: `mish train` for the Xception family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "legacy_xception")
}
