//! Ranks that get signals or die.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::{TINY, alone, has_mpirun, mish, mpirun, on_ranks, read, success};

/// Epochs of a run that is still in progress when a signal arrives: each takes several milliseconds.
const EPOCHS: &str = "200";

/// A run on two ranks that write their process ids into its folder.
struct Started {
    child: Child,
    folder: PathBuf,
}

impl Started {
    fn new(folder: &Path) -> Self {
        let script = r#"echo $$ > "$0.$OMPI_COMM_WORLD_RANK"; exec "$@""#;
        let mut command = mpirun(2);
        command
            .args(["sh", "-c", script])
            .arg(folder)
            .arg(mish())
            .args(TINY)
            .args(["--epochs", EPOCHS, "--output"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            child: command.spawn().expect("started"),
            folder: folder.to_path_buf(),
        }
    }

    /// Acts after two epochs, and waits for the end of all ranks.
    fn disturbed(mut self, act: impl FnOnce(&Path)) -> Output {
        let metrics = self.folder.join("metrics.jsonl");
        while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 2 {
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "ended before the signal: {ended:?}");
            sleep(Duration::from_millis(5));
        }
        act(&self.folder);
        self.child.wait_with_output().expect("an output")
    }

    /// Sends a signal to a rank.
    fn signal(self, signal: &str, rank: usize) -> Output {
        self.disturbed(|folder| {
            let id = std::fs::read_to_string(format!("{}.{rank}", folder.display()));
            let id = id.expect("a process id");
            let sent = Command::new("kill").args([signal, id.trim()]).status();
            assert!(sent.expect("kill").success());
        })
    }
}

/// Continues a run and returns its weights.
fn resumed(mut command: Command, folder: &Path) -> Vec<u8> {
    command
        .args(["train", "--no-report", "--resume"])
        .arg(folder);
    success(command);
    read(folder, "last.safetensors")
}

/// The weights of a run without a signal.
fn whole(folder: &Path) -> Vec<u8> {
    let run = folder.join("whole");
    let mut command = on_ranks(2, TINY);
    command.args(["--epochs", EPOCHS, "--output"]).arg(&run);
    success(command);
    read(&run, "last.safetensors")
}

#[test]
fn a_signal_to_one_rank_saves_the_run_on_all() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let expected = whole(folder.path());
    for rank in [0, 1] {
        let run = folder.path().join(format!("run{rank}"));
        let output = Started::new(&run).signal("-TERM", rank);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert_eq!(stderr.matches("stopped after step").count(), 1, "{stderr}");
        assert!(resumed(on_ranks(2, &[]), &run) == expected);
    }
}

#[test]
fn a_rank_that_dies_ends_the_others_and_the_run_resumes() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let expected = whole(folder.path());
    for rank in [0, 1] {
        let run = folder.path().join(format!("run{rank}"));
        let output = Started::new(&run).signal("-KILL", rank);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        let named = stderr.lines().find(|line| line.contains("signal 9"));
        let named = named.unwrap_or_else(|| panic!("{stderr}"));
        assert!(named.contains(&format!("rank {rank}")), "{named}");
        assert!(resumed(on_ranks(2, &[]), &run) == expected);
    }
}

#[test]
fn a_run_continues_with_another_number_of_ranks() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    Started::new(&run).signal("-TERM", 1);
    let mut command = alone(&["train", "--no-report", "--resume"]);
    command.arg(&run);
    let (stdout, stderr) = success(command);
    assert!(stdout.contains("mlp_2x8"), "{stdout}");
    let line = "the run used 2 ranks, now it uses 1";
    assert_eq!(stderr.matches(line).count(), 1, "{stderr}");
    let metrics = String::from_utf8(read(&run, "metrics.jsonl")).expect("text");
    assert_eq!(metrics.lines().count().to_string(), EPOCHS);
}

#[test]
fn a_folder_that_rank_0_cannot_write_ends_all() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let moved = folder.path().join("moved");
    let output = Started::new(&run).disturbed(|run| {
        std::fs::rename(run, &moved).expect("a rename");
    });
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let errors = stderr.lines().filter(|line| line.starts_with("error: "));
    let errors: Vec<&str> = errors.collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    assert!(
        errors[0].starts_with("error: rank 0 of 2: cannot write"),
        "{stderr}"
    );
    // The files so far are whole.
    assert!(!resumed(on_ranks(2, &[]), &moved).is_empty());
}
