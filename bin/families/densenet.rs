//! `train-densenet`: `mish train` for the DenseNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "densenet_bc100_12")
}
