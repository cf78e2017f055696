//! `mish` on several ranks of MPI. Needs the feature `mpi`; without `mpirun`, the tests say that they
//! skip.

mod faults;
mod ranks;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A small network, whose steps take an instant.
const TINY: &[&str] = &[
    "train",
    "mlp_2x8",
    "--dataset",
    "synthetic",
    "--limit-train",
    "256",
    "--limit-test",
    "64",
    "--batch-size",
    "32",
    "--no-report",
];

fn mish() -> &'static str {
    env!("CARGO_BIN_EXE_mish")
}

/// Ranks wait for each other without sleeping, so only one test runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The right to use `mpirun`, if it works here. Otherwise says that a test skips.
fn has_mpirun() -> Option<MutexGuard<'static, ()>> {
    let alone = ONE_AT_A_TIME.lock();
    let alone = alone.unwrap_or_else(PoisonError::into_inner);
    let found = mpirun(2).arg("true").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(alone);
    }
    eprintln!("skipped: mpirun does not start two ranks here");
    None
}

/// `mpirun` with `ranks` ranks on this computer.
fn mpirun(ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["--oversubscribe", "-n", &ranks.to_string()])
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        // Containers often forbid reading the memory of other processes.
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
        .env_remove("CIFAR100_DIR")
        .env_remove("MNIST_DIR")
        .env_remove("RUST_LOG")
        .env_remove("RUST_BACKTRACE")
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null());
    command
}

/// `mish` on several ranks.
fn on_ranks(ranks: usize, args: &[&str]) -> Command {
    let mut command = mpirun(ranks);
    command.arg(mish()).args(args);
    command
}

/// `mish` in one process.
fn alone(args: &[&str]) -> Command {
    let mut command = Command::new(mish());
    command.args(args).env("HF_HUB_OFFLINE", "1");
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("started")
}

/// Runs a command that must succeed and returns stdout and stderr.
fn success(command: Command) -> (String, String) {
    let output = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    (stdout, stderr)
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
