//! The programs from end to end, on the synthetic set and without a network.

mod bad_input;
mod bench;
mod commands;
mod compatibility;
mod export;
mod families;
mod folder;
mod foreign;
mod pretrained;
mod runs;
#[allow(
    dead_code,
    reason = "most faults concern the library, whose tests inject them"
)]
#[path = "../support/hub.rs"]
mod server;
mod swap;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// `mish` with arguments, without the surroundings of whoever runs the tests.
fn mish(args: &[&str]) -> Command {
    program("mish", args)
}

fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin(name).expect("built with the tests");
    command
        .env_remove("CIFAR100_DIR")
        .env_remove("RUST_LOG")
        .env("HF_HUB_OFFLINE", "1")
        // Candle then adds one to its messages, which is not for the user.
        .env("RUST_BACKTRACE", "1")
        .args(args);
    command
}

/// A training of a few seconds into `folder`, with more flags.
fn train(folder: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "resnet20", "--output"]);
    command.arg(folder).args(SMALL).args(flags);
    command
}

const SMALL: &[&str] = &[
    "--dataset",
    "synthetic",
    "--limit-train",
    "96",
    "--limit-test",
    "40",
    "--batch-size",
    "32",
    "--epochs",
    "2",
    "--threads",
    "2",
];

/// Runs a command that must succeed and parses what it prints as JSON.
fn json(mut command: Command) -> Value {
    let output = command.arg("--json").output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

/// Runs a command that must fail with `code` and one line on stderr, and returns that line.
fn failure(mut command: Command, code: i32) -> String {
    let output = command.output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "something on stdout: {stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(lines[0].starts_with("error: "), "{stderr}");
    assert!(!lines[0].contains("panicked"), "{stderr}");
    assert!(!lines[0].contains("; 0: "), "a backtrace: {stderr}");
    lines[0].to_string()
}
