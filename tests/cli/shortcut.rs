//! Shortcuts without parameters, from training to export.

use candle_mish::checkpoint;
use candle_mish::onnx::proto::ModelProto;

use crate::{failure, json, mish, train};

#[test]
fn a_run_records_its_shortcuts_and_every_command_takes_them_from_the_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = [
        "--shortcut",
        "a",
        "--activation",
        "relu",
        "--sched",
        "constant",
    ];
    let summary = json(train(&run, &flags));
    let weights = run.join("last.safetensors");
    let own = checkpoint::read(&weights).expect("weights");
    assert_eq!(own.metadata.get("shortcut").map(String::as_str), Some("a"));
    assert!(own.tensors.keys().all(|key| !key.contains("downsample")));
    let eval = |flags: &[&str]| {
        let mut command = mish(&["eval"]);
        command.args(flags).arg("--weights").arg(&weights);
        command
    };
    assert_eq!(json(eval(&[]))["loss"], summary["final_loss"]);
    let error = failure(eval(&["--shortcut", "b"]), 1);
    assert!(error.contains("shortcut is a, not b"), "{error}");
    assert!(!error.contains("missing"), "{error}");
    let out = folder.path().join("out.onnx");
    let mut export = mish(&["export", "--weights"]);
    export.arg(&weights).arg("--out").arg(&out);
    export.assert().success();
    let bytes = std::fs::read(&out).expect("exported");
    let graph = ModelProto::from_bytes(&bytes).expect("ONNX").graph;
    let nodes = graph.expect("a graph").node;
    assert_eq!(nodes.iter().filter(|node| node.op_type == "Pad").count(), 2);
    let summary = {
        let mut resume = mish(&["train", "--epochs", "3", "--resume"]);
        resume.arg(&run);
        json(resume)
    };
    assert_eq!(summary["epochs"], 3);
}

#[test]
fn networks_without_a_choice_refuse_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let mut command = mish(&[
        "train",
        "vgg11",
        "--dataset",
        "synthetic",
        "--shortcut",
        "a",
    ]);
    command.arg("--output").arg(&run);
    let error = failure(command, 2);
    assert!(error.contains("shortcut has no effect on vgg11"), "{error}");
    let error = failure(mish(&["train", "resnet20", "--shortcut", "c"]), 2);
    assert!(error.contains("expected a or b"), "{error}");
}
