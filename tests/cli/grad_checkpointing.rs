//! Gradient checkpointing of a run.

use std::path::Path;

use crate::{failure, mish, stderr_of, success, train};

fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("last.safetensors")).expect("weights")
}

/// The estimate that a run prints, in MiB.
fn estimate(stderr: &str) -> f64 {
    let line = stderr.lines().find(|line| line.starts_with("memory "));
    let line = line.expect("an estimate");
    let number = line.split_whitespace().nth(2).expect("a number");
    assert!(line.contains(&format!("{number} MiB")), "{line}");
    number.parse().expect(line)
}

#[test]
fn the_weights_are_the_same_and_the_estimate_is_smaller() {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, again, resumed] =
        ["plain", "again", "resumed"].map(|name| folder.path().join(name));
    let dropped: &[&str] = &[
        "--drop",
        "0.1",
        "--drop-path",
        "0.2",
        "--sched",
        "constant",
        "--lr",
        "0.01",
    ];
    let stderr = stderr_of(train(&plain, dropped));
    let (most, config) = (estimate(&stderr), read(&plain));
    assert!(!config.contains("grad_checkpointing"), "{config}");
    let stderr = stderr_of(train(
        &again,
        &[dropped, &["--grad-checkpointing"]].concat(),
    ));
    let less = estimate(&stderr);
    assert!(less < 0.8 * most, "{less} of {most} MiB");
    assert!(weights(&plain) == weights(&again));
    let config = read(&again);
    assert!(config.contains("\ngrad_checkpointing = true\n"), "{config}");
    // A run continues with it, or without.
    for (first, then) in [
        ("=true", None),
        ("=true", Some("=false")),
        ("=false", Some("")),
    ] {
        let flag = |value: &str| format!("--grad-checkpointing{value}");
        std::fs::remove_dir_all(&resumed).ok();
        success(train(
            &resumed,
            &[dropped, &[&flag(first), "--epochs", "1"]].concat(),
        ));
        let mut resume = mish(&["train", "--threads", "2", "--epochs", "2", "--resume"]);
        resume.arg(&resumed).args(then.map(flag));
        let continued = estimate(&stderr_of(resume)) < 0.8 * most;
        assert_eq!(continued, then != Some("=false"), "{first} {then:?}");
        assert!(weights(&plain) == weights(&resumed), "{first} {then:?}");
    }
}

fn read(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("config.toml")).expect("a configuration")
}

#[test]
fn a_network_without_blocks_refuses_it() {
    for command in ["train", "lr-find"] {
        let line = failure(mish(&[command, "mlp_2x8", "--grad-checkpointing"]), 2);
        assert_eq!(
            line,
            "error: --grad-checkpointing has no effect on mlp_2x8, which has no blocks"
        );
    }
}
