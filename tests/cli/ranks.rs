//! Several ranks of a program without MPI, and `mish doctor`.

use crate::{json, mish, success};

#[test]
fn the_doctor_says_what_the_program_has() {
    let (stdout, _) = success(mish(&["doctor", "--threads", "2"]));
    for name in [
        "program",
        "system",
        "processor",
        "threads     2",
        "device",
        "ranks       1",
    ] {
        assert!(stdout.contains(name), "{name}: {stdout}");
    }
    let found = json(mish(&["doctor", "--threads", "2"]));
    assert_eq!(found["ranks"], 1);
    assert_eq!(found["threads"], 2);
    assert!(found["launcher"].is_null());
}

#[cfg(not(feature = "mpi"))]
mod without_mpi {
    use std::path::Path;

    use assert_cmd::Command;

    use crate::{failure, mish, success};

    fn launched(rank: &str, size: &str, args: &[&str]) -> Command {
        let mut command = mish(args);
        command.env("OMPI_COMM_WORLD_RANK", rank);
        command.env("OMPI_COMM_WORLD_SIZE", size);
        command
    }

    #[test]
    fn ranks_without_mpi_are_refused_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("run");
        let output = output.to_str().expect("text");
        let args = [
            "train",
            "mlp_2x8",
            "--dataset",
            "synthetic",
            "--output",
            output,
        ];
        let line = failure(launched("0", "2", &args), 2);
        assert_eq!(
            line,
            "error: Open MPI started 2 ranks, but this program was built without MPI: build it \
             with --features mpi, or start one process"
        );
        assert!(!Path::new(output).exists());
        // The others leave the message to rank 0.
        let other = launched("1", "2", &args).output().expect("started");
        assert_eq!(other.status.code(), Some(2));
        assert!(other.stderr.is_empty() && other.stdout.is_empty());
    }

    #[test]
    fn one_rank_is_one_process() {
        success(launched("0", "1", &["doctor"]));
        let line = failure(launched("2", "2", &["doctor"]), 2);
        let expected = "OMPI_COMM_WORLD_RANK is 2, must be below the number of ranks";
        assert!(line.contains(expected), "{line}");
    }
}
