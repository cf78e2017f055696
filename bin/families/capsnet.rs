//! `train-capsnet`: `mish train` for CapsNet.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "capsnet")
}
