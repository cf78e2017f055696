//! `train-mobilenet`: `mish train` for the MobileNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "mobilenetv2_100")
}
