//! `train-shufflenet`: `mish train` for the ShuffleNet family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "shufflenet_v2_x1_0")
}
