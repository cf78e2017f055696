//! `mish`: train, evaluate and compare image classifiers with any activation.

fn main() -> std::process::ExitCode {
    candle_mish_cli::mish()
}
