//! `train-wide-resnet`: `mish train` for the Wide ResNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "wrn10_2")
}
