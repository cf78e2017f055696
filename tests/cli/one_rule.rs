//! Weights without a header: every command takes the same network and the same preprocessing.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint;
use candle_mish::data::{Image, Preprocess};
use candle_mish::nn::ParamStore;
use candle_mish_models::{self as models, ModelSpec};
use serde_json::Value;

use crate::predict::{image, network};
use crate::{failure, json, mish, success};

#[test]
fn unrecorded_preprocessing_is_assumed_alike_by_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let tensors = checkpoint::read(&weights).expect("weights").tensors;
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    let bare = folder.path().join("bare.safetensors");
    checkpoint::write(&bare, &tensors, &BTreeMap::new()).expect("written");
    let root = folder.path().join("images");
    for class in 0..4 {
        image(&root.join(format!("{class}/a.png")), 30 * class);
    }
    let data = format!("folder:{}", root.display());
    let onnx = folder.path().join("out.onnx");
    let onnx = onnx.to_str().expect("text");
    let file = root.join("0/a.png");
    let commands: [&[&str]; 4] = [
        &["predict", "resnet20", file.to_str().expect("text")],
        &["eval", "resnet20", "--dataset", &data],
        &[
            "swap",
            "resnet20",
            "--dataset",
            &data,
            "--to",
            "relu",
            "--recalibrate",
            "0",
        ],
        &["export", "resnet20", "--out", onnx],
    ];
    for command in commands {
        let run = |flags: &[&str]| {
            let mut run = mish(command);
            run.args(["--activation", "mish", "--weights"]).arg(&bare);
            run.args(flags);
            success(run).1
        };
        let stderr = run(&[]);
        let part = "does not record its preprocessing: assuming 32 pixels, crop 1, bicubic, mean \
                    [0.5070752, 0.48654887, 0.44091785]";
        assert!(stderr.contains(part), "{command:?}: {stderr}");
        assert!(stderr.contains("change it with --img-size"), "{stderr}");
        let stderr = run(&[
            "--img-size",
            "32",
            "--mean",
            "0.5",
            "0.5",
            "0.5",
            "--std",
            "0.2",
            "0.2",
            "0.2",
        ]);
        assert!(!stderr.contains("preprocessing"), "{command:?}: {stderr}");
    }
}

/// The first convolution of these weights is 7x7.
#[test]
fn the_tensors_decide_the_stem_for_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = ModelSpec {
        activation: "relu".parse().expect("an activation"),
        num_classes: 2,
        ..ModelSpec::imagenet("resnet18")
    };
    let store = ParamStore::new(DType::F32, &Device::Cpu, 5);
    let model = models::create(&spec, store.var_builder()).expect("built");
    let weights = folder.path().join("bare.safetensors");
    checkpoint::write(&weights, &store.tensors(), &BTreeMap::new()).expect("written");
    let root = folder.path().join("images");
    for class in 0..2 {
        image(&root.join(format!("{class}/a.png")), 90 * class);
    }
    let data = format!("folder:{}", root.display());
    let shared = [
        "--activation",
        "relu",
        "--img-size",
        "64",
        "--crop-pct",
        "1",
        "--mean",
        "0",
        "0",
        "0",
        "--std",
        "1",
        "1",
        "1",
        "--weights",
    ];
    let run = |command: &[&str]| {
        let mut run = mish(command);
        run.args(shared).arg(&weights);
        run
    };
    let preprocess = Preprocess {
        input_size: 64,
        crop_pct: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
        ..Preprocess::default()
    };
    let logits = |file: &str| {
        let image = Image::read(&root.join(file)).expect("an image");
        let logits = model.forward_t(&preprocess.tensor(&image).expect("pixels"), false);
        logits
            .and_then(|l| l.squeeze(0)?.to_vec1::<f32>())
            .expect("logits")
    };
    let rows = [logits("0/a.png"), logits("1/a.png")];
    let loss = |row: &[f32], label: usize| {
        let sum: f32 = row.iter().map(|logit| logit.exp()).sum();
        f64::from(sum.ln() - row[label])
    };
    let want = (loss(&rows[0], 0) + loss(&rows[1], 1)) / 2.0;
    let got = json(run(&["eval", "resnet18", "--dataset", &data]));
    let got = got["loss"].as_f64().expect("a loss");
    assert!((got - want).abs() < 1e-4, "{got} {want}");
    let out = folder.path().join("out");
    let out = out.to_str().expect("text");
    let file = root.join("0/a.png");
    let predict = [
        "predict",
        "resnet18",
        file.to_str().expect("text"),
        "--logits",
        out,
    ];
    run(&predict).assert().success();
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(out).expect("written")).expect("JSON");
    assert_eq!(written["stem"], "imagenet");
    let first = written["logits"][0][0].as_f64().expect("a logit");
    assert!(
        (first - f64::from(rows[0][0])).abs() < 1e-4,
        "{first} {rows:?}"
    );
    let export = ["export", "resnet18", "--out", out, "--format", "onnx"];
    assert_eq!(json(run(&export))["stem"], "imagenet");
}

/// A training state with two tables of weights.
#[test]
fn the_table_of_weights_is_chosen_or_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.png");
    image(&path, 1);
    let weights = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/reference/two_tables.pth"
    );
    let run = |command: &[&str], flags: &[&str]| {
        let mut run = mish(command);
        run.args(["--activation", "relu", "--img-size", "32"]);
        run.args(["--mean", "0", "0", "0", "--std", "1", "1", "1"]);
        run.args(["--weights", weights]).args(flags);
        run
    };
    let predict = ["predict", "mlp_1x1", path.to_str().expect("text")];
    let (text, stderr) = success(run(&predict, &["--topk", "1"]));
    assert!(text.contains("class 0 (73.1 %)"), "{text}");
    for part in ["table 'model'", "--state-dict-key", "'ema'"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    let named = ["--topk", "1", "--state-dict-key", "ema"];
    let (text, stderr) = success(run(&predict, &named));
    assert!(text.contains("class 1 (73.1 %)"), "{text}");
    assert!(!stderr.contains("--state-dict-key"), "{stderr}");
    let error = failure(run(&predict, &["--state-dict-key", "teacher"]), 1);
    for part in ["'teacher'", "--state-dict-key", "model", "ema"] {
        assert!(error.contains(part), "{error}");
    }
    let out = folder.path().join("out.safetensors");
    let export = ["export", "mlp_1x1", "--out", out.to_str().expect("text")];
    let mut command = mish(&export);
    command.args(["--activation", "relu", "--weights", weights]);
    command.args(["--state-dict-key", "ema"]).assert().success();
    let bias = &checkpoint::read(&out).expect("exported").tensors["fc.bias"];
    assert_eq!(bias.to_vec1::<f32>().expect("a bias"), [0.0, 1.0]);
}
