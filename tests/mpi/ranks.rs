//! Runs on ranks of MPI against one process, and against themselves.

use std::path::Path;

use candle_mish::checkpoint;

use crate::{TINY, alone, has_mpirun, on_ranks, output, read, success};

/// A few steps of a network with batch norms.
const SMALL: &[&str] = &[
    "train",
    "resnet20",
    "--dataset",
    "synthetic",
    "--limit-train",
    "32",
    "--limit-test",
    "10",
    "--batch-size",
    "16",
    "--epochs",
    "2",
    "--lr",
    "0.05",
    "--threads",
    "1",
    "--no-report",
];

fn with_output<'a>(args: &[&'a str], folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let folder = folder.to_str().expect("text");
    [args, &["--output", folder], more].concat()
}

/// The largest difference of a weight relative to the largest of its tensor.
fn difference(a: &Path, b: &Path) -> f32 {
    let read = |folder: &Path| {
        let file = checkpoint::read(&folder.join("last.safetensors")).expect("weights");
        file.tensors
    };
    let (a, b) = (read(a), read(b));
    assert_eq!(a.len(), b.len());
    let mut largest: f32 = 0.0;
    for (name, a) in &a {
        if !a.dtype().is_float() {
            continue;
        }
        let values = |t: &candle_core::Tensor| -> Vec<f32> {
            let values = t.flatten_all().and_then(|t| t.to_vec1());
            values.expect("values")
        };
        let (a, b) = (values(a), values(&b[name]));
        let scale = a.iter().fold(1e-6, |scale: f32, a| scale.max(a.abs()));
        for (a, b) in a.iter().zip(&b) {
            largest = largest.max((a - b).abs() / scale);
        }
    }
    largest
}

#[test]
fn two_ranks_with_synchronised_norms_repeat_one_process() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let [one, two, again] = ["one", "two", "again"].map(path);
    success(alone(&with_output(SMALL, &one, &["--sync-bn"])));
    success(on_ranks(2, &with_output(SMALL, &two, &["--sync-bn"])));
    let difference = difference(&one, &two);
    assert!(difference < 1e-5, "{difference}");
    // The same bits again, over TCP, and with small buckets, whose sums overlap the backward pass.
    let buckets = ["--sync-bn", "--bucket-cap-mb", "0.1"];
    let mut over_tcp = on_ranks(2, &with_output(SMALL, &again, &buckets));
    over_tcp.env("OMPI_MCA_btl", "tcp,self");
    success(over_tcp);
    assert!(read(&two, "last.safetensors") == read(&again, "last.safetensors"));
}

#[test]
fn rank_0_alone_reports_and_writes() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--epochs", "2", "--tensorboard", "--batch-size", "33"];
    let args = with_output(TINY, &run, &flags);
    let (stdout, stderr) = success(on_ranks(3, &args));
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert_eq!(stderr.matches("epoch 2/2").count(), 1, "{stderr}");
    assert!(stderr.contains("ranks     3, 11 images each"), "{stderr}");
    let metrics = String::from_utf8(read(&run, "metrics.jsonl")).expect("text");
    assert_eq!(metrics.lines().count(), 2, "{metrics}");
    // The next run needs another folder.
    let refused = output(on_ranks(3, &args));
    assert!(!refused.status.success());
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("error: rank 0 of 3:"), "{stderr}");
    assert!(stderr.contains("already holds a run"), "{stderr}");
}

#[test]
fn a_batch_that_the_ranks_cannot_divide_is_a_usage_error() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let args = with_output(TINY, &run, &["--batch-size", "33"]);
    let refused = output(on_ranks(2, &args));
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    let line = "error: rank 0 of 2: --batch-size 33 must be a multiple of 2, the number of ranks";
    assert_eq!(stderr.matches(line).count(), 1, "{stderr}");
}

#[test]
fn the_doctor_sums_over_all_ranks() {
    let Some(_alone) = has_mpirun() else {
        return;
    };
    let (stdout, _) = success(on_ranks(2, &["doctor"]));
    for line in [
        "ranks       2, started by Open MPI",
        "sums are right",
        "1 node:",
    ] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
}

#[test]
fn the_benchmark_of_ranks_times_every_size_of_bucket() {
    let Some(_alone) = has_mpirun() else { return };
    let args = "bench ranks mlp_2x8 --batch-size 4 --steps 2 --bucket-cap-mb 25,0.01 --json";
    let (stdout, _) = success(on_ranks(2, &args.split(' ').collect::<Vec<_>>()));
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!(report["ranks"], 2);
    let rows = report["by_bucket"].as_array().expect("rows");
    let buckets: Vec<_> = rows
        .iter()
        .filter_map(|row| row["buckets"].as_u64())
        .collect();
    assert!(buckets[0] == 1 && buckets[1] > 1, "{buckets:?}");
    for row in rows {
        for case in ["sums", "overlapped", "after"] {
            assert!(row[case]["median_ms"].as_f64() > Some(0.0), "{row}");
        }
    }
    assert_eq!(report["measured_link"], true);
    assert_eq!(report["predictions"].as_array().map(Vec::len), Some(8));
}
