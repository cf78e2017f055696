//! `train-squeezenet`: `mish train` for the SqueezeNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "squeezenet1_1")
}
