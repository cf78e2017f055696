//! `train-vgg`: `mish train` for the VGG family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "vgg11_bn")
}
