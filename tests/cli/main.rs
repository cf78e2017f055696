//! The programs from end to end, on the synthetic data set and without a network.

mod average;
mod bad_input;
mod bench;
mod classes;
mod commands;
mod compatibility;
mod darknet;
mod embedded;
mod export;
mod families;
mod faults;
mod fine_tune;
mod folder;
mod foreign;
mod grad_checkpointing;
mod leases;
mod mixing;
mod mnist;
mod one_rule;
mod output_files;
mod plot;
mod predict;
mod pretrained;
mod ranges;
mod ranks;
mod rates;
mod recipes;
mod resume;
mod runs;
#[allow(
    dead_code,
    reason = "most faults concern the library, whose tests inject them"
)]
#[path = "../support/hub.rs"]
mod server;
mod shortcut;
mod study;
mod swap;
mod swap_methods;
mod timing_study;
mod usage;
mod watch;
mod weights;

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// `mish` with arguments, independent of the environment of the tests.
fn mish(args: &[&str]) -> Command {
    program("mish", args)
}

fn program(name: &str, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin(name).expect("built with the tests");
    command
        .env_remove("CIFAR100_DIR")
        .env_remove("MNIST_DIR")
        .env_remove("RUST_LOG")
        .env("HF_HUB_OFFLINE", "1")
        // Candle then appends a backtrace to its messages. The user must not see it.
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

/// Runs a command that must succeed and returns its stdout and stderr. Warnings must not repeat
/// themselves.
fn success(mut command: Command) -> (String, String) {
    let output = command.output().expect("started");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert!(output.status.success(), "{stderr}");
    for warning in stderr.lines().filter(|line| line.contains("WARN")) {
        assert_says_once(warning);
    }
    (stdout, stderr)
}

/// Runs a command that must succeed and returns its stderr.
fn stderr_of(command: Command) -> String {
    success(command).1
}

/// Runs a command that must succeed and parses what it prints as JSON.
fn json(mut command: Command) -> Value {
    command.arg("--json");
    serde_json::from_str(&success(command).0).expect("JSON on stdout")
}

/// Runs a command that must fail with `code` and one line on stderr, and returns that line. The
/// line must not repeat itself.
fn failure(mut command: Command, code: i32) -> String {
    let output = command.output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "something on stdout: {stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert_is_message(lines[0]);
    lines[0].to_string()
}

/// Checks the form of an error message.
fn assert_is_message(line: &str) {
    assert!(line.starts_with("error: "), "{line}");
    assert!(!line.contains("panicked"), "{line}");
    assert!(!line.contains("; 0: "), "a backtrace: {line}");
    assert_says_once(line);
}

/// Checks that a message does not repeat a phrase.
fn assert_says_once(line: &str) {
    if let Some(phrase) = repeated(line) {
        panic!("'{phrase}' comes twice in: {line}");
    }
}

/// A phrase that comes twice in a line: three words, words of 20 characters together, or 20
/// characters of a path or an address.
fn repeated(line: &str) -> Option<String> {
    let words: Vec<&str> = line
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .collect();
    for (start, count) in (0..words.len()).flat_map(|start| [(start, 1), (start, 2), (start, 3)]) {
        let Some(phrase) = words.get(start..start + count) else {
            continue;
        };
        // Numbers alone are an array, not a phrase.
        let is_text = phrase.iter().all(|word| word.contains(char::is_alphabetic));
        let is_long = count == WORDS || phrase.join(" ").len() >= CHARACTERS;
        let mut rest = words[start + count..].windows(count);
        if is_text && is_long && rest.any(|other| other == phrase) {
            return Some(phrase.join(" "));
        }
    }
    let characters: Vec<char> = line.chars().collect();
    for (start, phrase) in characters.windows(CHARACTERS).enumerate() {
        let is_path = phrase.contains(&'/') && !phrase.contains(&' ');
        let mut rest = characters[start + CHARACTERS..].windows(CHARACTERS);
        if is_path && rest.any(|other| other == phrase) {
            return Some(phrase.iter().collect());
        }
    }
    None
}

const WORDS: usize = 3;
const CHARACTERS: usize = 20;

#[test]
fn repetitions_are_found() {
    for (line, phrase) in [
        (
            "cannot read x: Is a directory (os error 21): Is a directory (os error 21)",
            "Is a directory",
        ),
        (
            "GET https://huggingface.co/timm failed: https://huggingface.co/timm",
            "https://huggingface.co/timm",
        ),
        (
            "cannot write /tmp/out/some/file.onnx: denied at /tmp/out/some/file.o-1",
            "/tmp/out/some/file.o",
        ),
    ] {
        assert_eq!(repeated(line).as_deref(), Some(phrase), "{line}");
    }
    for line in [
        "the run started with lr = 0.3, it cannot continue with 0.01",
        "mean [0.5, 0.5, 0.5], std [0.5, 0.5, 0.5]",
        "missing: layer1.3.conv1.weight, layer1.3.bn1.weight, layer1.3.bn1.bias and 57 more",
        "",
    ] {
        assert_eq!(repeated(line), None, "{line}");
    }
}
