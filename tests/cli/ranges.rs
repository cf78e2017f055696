//! A number out of range is a usage error in one line that names the flag, before anything is computed or
//! allocated. The tests of the command line itself try every flag.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint;

use crate::{failure, mish, train};

#[test]
fn numbers_out_of_range_are_usage_errors() {
    for (command, flags) in [
        (
            &["train", "resnet20"][..],
            &[
                "--epochs=0",
                "--lr=0",
                "--momentum=1",
                "--mixup=1001",
                "--swa-start=11",
                "--limit-train=0",
                "--batch-size=10000000001",
                "--seed=-1",
            ][..],
        ),
        (
            &["eval", "--weights", "none.safetensors"],
            &["--batch-size=0", "--crop-pct=1.1", "--std=nan"],
        ),
        (
            &["swap", "--to", "relu", "--weights", "none.safetensors"],
            &["--recalibrate=-1", "--lr=inf"],
        ),
        (&["bench", "infer"], &["--steps=0"]),
        (&["bench", "mish"], &["--shape=10000000001"]),
    ] {
        for flag in flags {
            let mut bad = mish(command);
            bad.arg(flag);
            let message = failure(bad, 2);
            let name = flag.split('=').next().expect("a name");
            assert!(message.contains(name), "{flag}: {message}");
        }
    }
}

/// Numbers that are in range, but not together.
#[test]
fn batches_that_no_memory_holds_are_refused() {
    let bench = ["bench", "infer", "resnet18", "--stem", "imagenet"];
    let mut large = mish(&bench);
    large.args(["--batch-size", "65536"]);
    let message = failure(large, 2);
    assert!(message.contains("--batch-size 65536"), "{message}");
    let message = failure(
        mish(&["bench", "mish", "--shape", "65536,65536,65536,65536,65536"]),
        2,
    );
    assert!(message.contains("too large"), "{message}");
}

/// Headers and saved configurations are checked like flags.
#[test]
fn numbers_in_files_have_a_range() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = folder.path().join("weights.safetensors");
    let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).expect("zeros");
    let text = |pair: (&str, &str)| (pair.0.to_string(), pair.1.to_string());
    for number in [
        ("num_classes", "100000000000"),
        ("in_chans", "100000000000"),
    ] {
        let header = [
            ("model", "resnet20"),
            ("activation", "mish"),
            ("stem", "cifar"),
            ("num_classes", "100"),
        ];
        let mut header: BTreeMap<String, String> = header.map(text).into();
        header.extend([text(number)]);
        let tensors = [("fc.bias".to_string(), tensor.clone())];
        checkpoint::write(&weights, &tensors, &header).expect("written");
        let out = folder.path().join("out.onnx");
        for command in [
            &["eval", "--dataset", "synthetic"][..],
            &["export", "--out"],
        ] {
            let mut bad = mish(command);
            if command[0] == "export" {
                bad.arg(&out);
            }
            bad.arg("--weights").arg(&weights);
            let message = failure(bad, 1);
            let part = format!("{} is {}", number.0, number.1);
            assert!(message.contains(&part), "{message}");
        }
    }
    let run = folder.path().join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    let config = run.join("config.toml");
    let saved = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, format!("num_classes = 100000000000\n{saved}")).expect("written");
    let mut resume = mish(&["train", "--resume"]);
    resume.arg(&run);
    let message = failure(resume, 1);
    assert!(message.contains("num_classes is 100000000000"), "{message}");
}
