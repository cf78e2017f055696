//! `train-senet`: `mish train` for the SE-Net family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "seresnet18")
}
