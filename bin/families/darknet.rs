//! `train-darknet`: `mish train` for the DarkNet and CSP family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "cspdarknet53")
}
