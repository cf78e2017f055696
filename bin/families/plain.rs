//! `train-plain`: `mish train` for the plain networks of the Mish paper.

fn main() -> std::process::ExitCode {
    candle_mish_cli::train_family(env!("CARGO_BIN_NAME"), "cnn6")
}
