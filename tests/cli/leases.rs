//! Run folders that a process on another computer uses, or used when it died.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, SystemTime};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;

use crate::{mish, success};

/// As the program's: a lease is free after this time without a sign of life.
const EXPIRY: Duration = Duration::from_secs(180);

fn train(words: &[&str], folder: &Path) -> Command {
    let mut command = mish(&["train"]);
    command.args(words).arg(folder).args(["--threads", "1"]);
    command
}

/// Trains an epoch into `folder`.
fn trained(folder: &Path) {
    let words = "mlp_2x8 --dataset synthetic --limit-train 64 --limit-test 32 --epochs 1 --sched constant \
                 --output";
    success(train(&words.split(' ').collect::<Vec<_>>(), folder));
}

/// The lease of a process on another computer, whose last sign of life is `silent` old.
fn leased_elsewhere(folder: &Path, silent: Duration) -> File {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true);
    let mut file = file.open(folder.join(".lease-7")).expect("created");
    let holder = r#"{"computer": "node3", "boot": "another", "process": 1}"#;
    file.write_all(holder.as_bytes()).expect("written");
    file.set_modified(SystemTime::now() - silent)
        .expect("its time");
    file
}

fn leases(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    names
        .filter(|name| name.to_string_lossy().starts_with(".lease"))
        .count()
}

#[test]
fn a_run_whose_process_died_elsewhere_continues_when_its_lease_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    trained(folder.path());
    assert_eq!(leases(folder.path()), 0);
    leased_elsewhere(folder.path(), EXPIRY - Duration::from_secs(3));
    let mut resume = train(&["--resume"], folder.path());
    resume.args(["--epochs", "2"]);
    let (_, progress) = success(resume);
    assert!(progress.contains("was in use on node3"), "{progress}");
    assert!(progress.contains("for a sign of life"), "{progress}");
    assert_eq!(leases(folder.path()), 0);
}

#[test]
fn a_run_that_another_computer_trains_is_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    trained(folder.path());
    let file = leased_elsewhere(folder.path(), Duration::from_secs(60));
    let mut resume = Process::new(cargo_bin("mish"));
    let resume = resume.args(["train", "--resume"]).arg(folder.path());
    let mut resume = resume.stderr(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(resume.stderr.take().expect("piped")).lines();
    let mut line = || lines.next().map(|line| line.expect("text"));
    let waiting = line().expect("a line");
    assert!(waiting.contains("for a sign of life"), "{waiting}");
    // The first look found the lease of a minute ago, the next one finds a sign of life.
    file.set_modified(SystemTime::now()).expect("its time");
    let error = line().expect("an error");
    assert_eq!(line(), None);
    assert_eq!(resume.wait().expect("it ends").code(), Some(1), "{error}");
    assert!(error.contains("is in use on node3"), "{error}");
    assert_eq!(leases(folder.path()), 1);
}

#[test]
fn a_study_trains_other_runs_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = folder.path().join("study.toml");
    let text = "title = \"t\"\n[base]\nmodel = \"mlp_2x8\"\ndataset = \"synthetic\"\nlimit_train = 64\n\
                limit_test = 32\nepochs = 1\n[axes]\nseed = [0, 1]\n";
    std::fs::write(&study, text).expect("written");
    let output = folder.path().join("out");
    let first = output.join("runs/seed=0");
    std::fs::create_dir_all(&first).expect("created");
    leased_elsewhere(&first, EXPIRY - Duration::from_secs(4));
    let mut run = mish(&["study", "run"]);
    run.arg(&study).arg("--output").arg(&output);
    run.args(["--threads", "1"]);
    let (text, progress) = success(run);
    assert!(text.contains("2 of 2 runs finished"), "{text}");
    let second = progress.find("run 2 of 2").expect("the second run");
    let (before, after) = progress.split_at(second);
    assert!(before.contains("another process is working on this run"));
    let first = format!("output    {}", first.display());
    assert!(after.contains(&first), "{progress}");
    // Once, although the study looks at the run every two seconds.
    assert_eq!(progress.matches("run 1 of 2").count(), 1, "{progress}");
}
