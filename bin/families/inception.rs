//! `train-inception`: `mish train` for the Inception family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "inception_v3")
}
