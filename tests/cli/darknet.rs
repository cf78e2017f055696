//! Weights of darknet in every command that takes weights.

use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_mish_models::{ModelArgs, from_file, from_file_with};

use crate::pretrained::{assert_logits, images_of};
use crate::{SMALL, failure, json, mish, stderr_of, success};

/// A fixture of tests/reference/darknet_cfg.py.
fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/darknet_cfg");
    folder.join(format!("{name}.weights"))
}

/// A network for the synthetic data set in darknet's files `name.cfg` and `name.weights`.
fn hundred_classes(folder: &Path, name: &str) -> PathBuf {
    let cfg = "[net]\nheight=32\nwidth=32\nchannels=3\n\
               [convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n\
               [convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n\
               [shortcut]\nfrom=-2\nactivation=leaky\n\
               [avgpool]\n\
               [convolutional]\nfilters=100\nactivation=linear\n\
               [softmax]\ngroups=1\n";
    std::fs::write(folder.join(format!("{name}.cfg")), cfg).expect("written");
    let mut bytes = [0i32, 2, 5, 0, 0].map(i32::to_le_bytes).concat();
    let mut state = 1u64;
    let mut write = |count: usize, scale: f32, shift: f32| {
        for _ in 0..count {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let uniform = (state >> 40) as f32 / (1 << 24) as f32;
            let value = scale * (2.0 * uniform - 1.0) + shift;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    };
    for inputs in [3, 8] {
        write(8, 0.1, 0.0);
        write(8, 0.25, 1.0);
        write(8, 0.1, 0.0);
        write(8, 0.25, 1.0);
        write(8 * inputs * 9, 0.3, 0.0);
    }
    write(100, 0.1, 0.0);
    write(800, 0.5, 0.0);
    let path = folder.join(format!("{name}.weights"));
    std::fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn images_are_classified_with_darknet_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("input.safetensors");
    let images = images_of(&input, 3, 18);
    let logits = folder.path().join("logits.json");
    for (flag, activation) in [("--weights", None), ("--pretrained", Some("relu"))] {
        let args = ModelArgs {
            activation: activation.map(|name| name.parse().expect("an activation")),
            ..ModelArgs::default()
        };
        let network = from_file_with(fixture("dense"), &args, &Device::Cpu).expect("a network");
        let want = network.model.forward_t(&images, false).expect("logits");
        let mut command = mish(&["predict"]);
        command.arg(&input).arg(flag).arg(fixture("dense"));
        command.arg("--logits").arg(&logits);
        if let Some(name) = activation {
            command.args(["--activation", name]);
        }
        success(command);
        assert_logits(&logits, &want);
    }
}

#[test]
fn darknet_weights_are_evaluated_exported_and_swapped() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = hundred_classes(folder.path(), "net");
    let data = [
        "--dataset",
        "synthetic",
        "--limit-test",
        "40",
        "--threads",
        "2",
    ];
    let eval = |weights: &Path| {
        let mut command = mish(&["eval", "--weights"]);
        command.arg(weights).args(data);
        json(command)
    };
    let own = eval(&weights);
    assert_eq!(own["activation"], "leaky_relu:0.1");
    // The network in our format, which records the cfg.
    let copy = folder.path().join("copy.safetensors");
    let mut export = mish(&["export", "--weights"]);
    export.arg(&weights).arg("--out").arg(&copy);
    assert_eq!(json(export)["model"], "darknet_cfg");
    assert_eq!(eval(&copy)["loss"], own["loss"]);
    let onnx = folder.path().join("net.onnx");
    let mut export = mish(&["export", "--weights"]);
    export.arg(&weights).arg("--out").arg(&onnx);
    assert_eq!(
        json(export)["graph"]["input"],
        serde_json::json!([3, 32, 32])
    );

    let saved = folder.path().join("saved");
    let mut swap = mish(&["swap", "--to", "mish", "--recalibrate", "2", "--weights"]);
    swap.arg(&weights)
        .args(data)
        .args(["--limit-train", "64", "--batch-size", "32", "--save"]);
    swap.arg(&saved);
    let report = json(swap);
    assert_eq!(report["from"], "leaky_relu:0.1");
    let files = std::fs::read_dir(&saved).expect("saved");
    let files: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    let swapped = files.iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains("mish") && name.ends_with(".safetensors")
    });
    let swapped = swapped.unwrap_or_else(|| panic!("no weights in {files:?}"));
    let network = from_file(swapped, &Device::Cpu).expect("a network");
    assert_eq!(network.spec.activation.to_string(), "mish");
    assert!(network.spec.cfg.is_some());
    assert_eq!(eval(swapped)["activation"], "mish");
}

#[test]
fn darknet_weights_are_trained_further() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = hundred_classes(folder.path(), "net");
    let run = folder.path().join("run");
    let train = |flags: &[&str]| {
        let mut command = mish(&["train", "darknet_cfg", "--pretrained"]);
        command
            .arg(&weights)
            .args(SMALL)
            .args(["--epochs", "1", "--output"]);
        command.arg(&run).args(flags);
        stderr_of(command);
    };
    train(&["--sched", "constant"]);
    let network = from_file(run.join("last.safetensors"), &Device::Cpu).expect("a network");
    assert_eq!(network.spec.activation.to_string(), "leaky_relu:0.1");
    // The configuration has the cfg: the run goes on without the files.
    std::fs::remove_file(&weights).expect("removed");
    let mut resume = mish(&["train", "--epochs", "2", "--threads", "2", "--resume"]);
    resume.arg(&run);
    stderr_of(resume);
}

#[test]
fn the_cfg_has_the_name_of_the_weights_or_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = hundred_classes(folder.path(), "net");
    let renamed = folder.path().join("net_final.weights");
    std::fs::rename(&weights, &renamed).expect("renamed");
    let eval = |flags: &[&str]| {
        let mut command = mish(&["eval", "--dataset", "synthetic", "--limit-test", "8"]);
        command.arg("--weights").arg(&renamed).args(flags);
        command
    };
    let error = failure(eval(&[]), 1);
    assert!(
        error.contains("is a darknet file, which needs net_final.cfg in its folder or --cfg FILE"),
        "{error}"
    );
    let cfg = folder.path().join("net.cfg");
    stderr_of(eval(&["--cfg", cfg.to_str().expect("text")]));
    std::fs::write(&cfg, "[net]\nheight=32\nwidth=32\nchannels=3\n[yolo]\n").expect("written");
    let error = failure(eval(&["--cfg", cfg.to_str().expect("text")]), 1);
    assert!(
        error.ends_with("net.cfg: line 5: [yolo]: a detector; only classifiers are supported"),
        "{error}"
    );
    let error = failure(mish(&["models", "darknet_cfg"]), 2);
    assert!(
        error.contains("darknet_cfg is the network of a darknet .cfg file"),
        "{error}"
    );
    let error = failure(mish(&["train", "darknet_cfg", "--dataset", "synthetic"]), 2);
    assert!(
        error.contains("darknet_cfg is the network of a darknet .cfg file"),
        "{error}"
    );
}
