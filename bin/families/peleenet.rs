//! `train-peleenet`: `mish train` for PeleeNet.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "peleenet")
}
