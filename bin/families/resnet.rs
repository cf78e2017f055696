//! `train-resnet`: `mish train` for the ResNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "resnet20")
}
