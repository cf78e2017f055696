//! `train-simplenet`: `mish train` for the SimpleNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "simplenet")
}
