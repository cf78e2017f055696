//! Exported files: safetensors that load again, and ONNX.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use candle_mish::checkpoint;
use candle_mish::onnx::proto::ModelProto;

use crate::{failure, json, mish, train};

fn export(weights: &Path, out: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["export", "--weights"]);
    command.arg(weights).arg("--out").arg(out).args(flags);
    command
}

/// Weights of a run of a few steps.
fn weights(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    run.join("last.safetensors")
}

#[test]
fn exported_weights_load_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    // Tensors without a header, as other programs write them.
    let own = checkpoint::read(&weights).expect("weights");
    let bare = folder.path().join("bare.safetensors");
    let tensors: Vec<_> = own.tensors.clone().into_iter().collect();
    checkpoint::write(&bare, &tensors, &BTreeMap::new()).expect("written");
    let out = folder.path().join("out.safetensors");
    let flags = ["resnet20", "--stem", "cifar", "--activation", "mish"];
    export(&bare, &out, &flags).assert().success();
    let exported = checkpoint::read(&out).expect("exported");
    assert_eq!(exported.tensors.len(), own.tensors.len());
    for (name, tensor) in &own.tensors {
        let other = &exported.tensors[name];
        assert_eq!(
            (tensor.dtype(), tensor.dims()),
            (other.dtype(), other.dims())
        );
    }
    let counter = &exported.tensors["layer1.0.bn1.num_batches_tracked"];
    assert_eq!(counter.dtype(), candle_core::DType::I64);
    assert_eq!(exported.metadata["model"], "resnet20");
    assert_eq!(exported.metadata["activation"], "mish");
    assert_eq!(exported.metadata["format"], "pt");
    let data = [
        "--dataset",
        "synthetic",
        "--limit-test",
        "40",
        "--batch-size",
        "32",
    ];
    let loss = |weights: &Path| {
        let mut command = mish(&["eval", "--weights"]);
        command.arg(weights).args(data);
        json(command)["loss"].clone()
    };
    assert_eq!(loss(&out), loss(&weights));
}

#[test]
fn an_onnx_file_holds_the_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let out = folder.path().join("out.onnx");
    let answer = json(export(&weights, &out, &[]));
    assert_eq!(answer["graph"]["opset"], 18);
    assert_eq!(answer["graph"]["input"], serde_json::json!([3, 32, 32]));
    let bytes = std::fs::read(&out).expect("a file");
    let file = ModelProto::from_bytes(&bytes).expect("ONNX");
    assert_eq!(file.producer_name, "candle-mish");
    let metadata: BTreeMap<&str, &str> = file
        .metadata_props
        .iter()
        .map(|entry| (&*entry.key, &*entry.value))
        .collect();
    assert_eq!(metadata["activation"], "mish");
    assert_eq!(metadata["image_size"], "32");
    assert!(metadata.contains_key("mean") && metadata.contains_key("classes"));
    let graph = file.graph.expect("a graph");
    assert_eq!(graph.name, "resnet20");
    let kinds = |kind: &str| {
        graph
            .node
            .iter()
            .filter(|node| node.op_type == kind)
            .count()
    };
    assert_eq!((kinds("Conv"), kinds("Mish"), kinds("Gemm")), (21, 19, 1));
    // The constants are the weights.
    let tensors = checkpoint::read(&weights).expect("weights").tensors;
    let weight = tensors["fc.weight"].flatten_all().expect("flat");
    let weight = weight.to_vec1::<f32>().expect("values");
    let constant = graph.initializer.iter().find(|t| t.name == "fc.weight");
    let constant = constant.expect("fc.weight");
    let values = constant.raw_data.chunks_exact(4);
    let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    assert_eq!(values.collect::<Vec<_>>(), weight);
    // The batch size is dynamic, the image size is fixed.
    let larger = json(export(&weights, &out, &["--img-size", "48"]));
    assert_eq!(larger["graph"]["input"], serde_json::json!([3, 48, 48]));
    let relu = json(export(&weights, &out, &["--activation", "relu"]));
    assert_eq!(relu["activation"], "relu");
}

#[test]
fn an_onnx_file_has_the_operators_that_were_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let out = folder.path().join("out.onnx");
    let operators = |flags: &[&str]| {
        let answer = json(export(&weights, &out, flags));
        let bytes = std::fs::read(&out).expect("a file");
        let file = ModelProto::from_bytes(&bytes).expect("ONNX");
        assert_eq!(answer["graph"]["opset"], file.opset_import[0].version);
        let nodes = file.graph.expect("a graph").node;
        let count = |kind: &str| nodes.iter().filter(|node| node.op_type == kind).count();
        let counts = ["Mish", "Exp", "HardSwish", "HardSigmoid"].map(count);
        (file.opset_import[0].version, counts)
    };
    assert_eq!(operators(&[]), (18, [19, 0, 0, 0]));
    assert_eq!(operators(&["--opset", "13"]), (13, [0, 19, 0, 0]));
    assert_eq!(operators(&["--opset", "17"]), (17, [0, 19, 0, 0]));
    assert_eq!(operators(&["--opset", "20"]), (20, [19, 0, 0, 0]));
    assert_eq!(operators(&["--decompose"]), (18, [0, 19, 0, 0]));
    let hard_swish = ["--activation", "hard_swish", "--opset"];
    let of = |rest: &[&str]| operators(&[&hard_swish, rest].concat()).1;
    assert_eq!(of(&["14"]), [0, 0, 19, 0]);
    assert_eq!(of(&["14", "--decompose"]), [0, 0, 0, 19]);
    assert_eq!(of(&["13"]), [0, 0, 0, 19]);
    let absent = folder.path().join("absent.onnx");
    for opset in ["12", "99", "x"] {
        let error = failure(export(&weights, &absent, &["--opset", opset]), 2);
        assert!(error.contains("--opset"), "{error}");
    }
    let other = folder.path().join("absent.safetensors");
    for flags in [&["--opset", "13"][..], &["--decompose"]] {
        let error = failure(export(&weights, &other, flags), 2);
        assert!(error.contains("--format onnx"), "{error}");
    }
    assert!(!absent.exists() && !other.exists());
}

#[test]
fn what_cannot_be_exported_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = weights(folder.path());
    let out = |name: &str| folder.path().join(name);
    let error = failure(export(&weights, &out("x.pt"), &[]), 2);
    assert!(error.contains(".safetensors or .onnx"), "{error}");
    let error = failure(export(&weights, &out("x.onnx"), &["resnet32"]), 1);
    assert!(error.contains("holds resnet20, not resnet32"), "{error}");
    let error = failure(export(&weights, &out("x.onnx"), &["--num-classes", "3"]), 1);
    assert!(error.contains("does not fit"), "{error}");
    let error = failure(export(&weights, &out("x.onnx"), &["--stem", "imagenet"]), 2);
    assert!(error.contains("32x32 images only"), "{error}");
    let error = failure(export(&weights, &out("absent/x.onnx"), &[]), 1);
    assert!(error.contains("absent"), "{error}");
    let error = failure(export(&out("none.safetensors"), &out("x.onnx"), &[]), 1);
    assert!(error.contains("none.safetensors"), "{error}");
    assert!(!out("x.onnx").exists() && !out("x.pt").exists());
}
