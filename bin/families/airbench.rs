//! `train-airbench`: `mish train` for the airbench family.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "airbench94")
}
