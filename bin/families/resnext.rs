//! `train-resnext`: `mish train` for the ResNeXt family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "resnext50_32x4d")
}
