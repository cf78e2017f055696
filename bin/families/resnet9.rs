//! `train-resnet9`: `mish train` for the ResNet-9 family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "resnet9")
}
