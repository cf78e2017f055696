//! `mish bench` and `mish activations`: the form of their output. Speed is not tested.

use std::collections::HashSet;

use candle_mish::Activation;
use serde_json::Value;

use crate::{failure, json, mish};

fn number(value: &Value, field: &str) -> f64 {
    let number = value[field].as_f64();
    number.unwrap_or_else(|| panic!("{field} in {value}"))
}

/// A small benchmark of a network.
fn network(what: &str, flags: &[&str]) -> Value {
    let mut command = mish(&["bench", what, "resnet20", "--batch-size", "4"]);
    command.args(["--steps", "2", "--threads", "2"]).args(flags);
    json(command)
}

#[test]
fn networks_are_measured_and_profiled() {
    let step = network("train", &["--activation", "relu", "--profile"]);
    assert_eq!(step["name"], "train_resnet20_relu");
    assert_eq!(step["activation"], "relu");
    assert_eq!(number(&step, "batch_size"), 4.0);
    assert_eq!(number(&step, "threads"), 2.0);
    assert!(number(&step, "min_ms") <= number(&step, "median_ms"));
    assert!(number(&step, "median_ms") <= number(&step, "max_ms"));
    let images = number(&step, "images_per_second") * number(&step, "median_ms");
    assert!((images / 4e3 - 1.0).abs() < 1e-9);
    let shares = step["profile"].as_array().expect("a profile");
    let sum: f64 = shares.iter().map(|share| number(share, "share")).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    for (op, pass) in [
        ("conv2d", "forward"),
        ("conv2d", "backward"),
        ("linear", "forward"),
        ("optimizer", "update"),
    ] {
        let found = shares.iter().any(|s| s["op"] == op && s["pass"] == pass);
        assert!(found, "{op} {pass} in {shares:?}");
    }
}

#[test]
fn ops_are_compared_with_their_bounds_and_predicted() {
    let step = network(
        "train",
        &["--roofline", "--predict", "16:100", "--predict", "64:300"],
    );
    let roofline = &step["roofline"];
    let peaks = &roofline["peaks"];
    assert_eq!(number(peaks, "threads"), 2.0);
    assert!(number(peaks, "gflops") > 0.0 && number(peaks, "gb_per_second") > 0.0);
    let rows = roofline["rows"].as_array().expect("rows");
    let row = |op: &str, pass: &str| {
        let found = rows
            .iter()
            .find(|row| row["op"] == op && row["pass"] == pass);
        found.unwrap_or_else(|| panic!("{op} {pass} in {rows:?}"))
    };
    for pass in ["forward", "backward"] {
        let convolution = row("conv2d", pass);
        assert!(number(convolution, "compute_ms") > 0.0, "{convolution}");
        assert!(number(convolution, "memory_ms") > 0.0, "{convolution}");
    }
    assert_eq!(number(row("optimizer", "update"), "memory_ms"), 0.0);
    let predicted = roofline["predicted"].as_array().expect("predictions");
    let cores: Vec<f64> = predicted.iter().map(|it| number(it, "cores")).collect();
    assert_eq!(cores, [16.0, 64.0]);
    let mut command = mish(&["bench", "train", "resnet20", "--predict", "16:100"]);
    assert!(failure(command, 2).contains("--roofline"));
    command = mish(&["bench", "train", "--roofline", "--predict", "16"]);
    assert!(failure(command, 2).contains("CORES:GB/S"));
}

#[test]
fn activations_are_compared_with_relu_in_each_type() {
    let folder = tempfile::tempdir().expect("a folder");
    let csv = folder.path().join("times.csv");
    let bench = || mish(&["bench", "activations", "--shape", "2,3,4", "--rounds", "6"]);
    let mut command = bench();
    command.args(["mish", "prelu", "--dtype", "f32,bf16"]);
    command.arg("--csv").arg(&csv);
    let report = json(command);
    let rows = report["measurements"].as_array().expect("measurements");
    let names: Vec<(&str, &str)> = rows
        .iter()
        .filter_map(|row| Some((row["dtype"].as_str()?, row["activation"].as_str()?)))
        .collect();
    let of = |dtype| ["relu", "mish", "prelu"].map(|activation| (dtype, activation));
    assert_eq!(names, [of("f32"), of("bf16")].concat());
    for row in rows {
        for pass in ["forward", "forward_backward"] {
            let (pass, relu) = (&row[pass], row["activation"] == "relu");
            let ci95 = pass["ci95"].as_array().expect("an interval");
            let [low, high] = [0, 1].map(|i| ci95[i].as_f64().expect("an end"));
            assert!((low..=high).contains(&number(pass, "median_ms")), "{row}");
            assert!(!relu || number(pass, "ratio") == 1.0, "{row}");
        }
    }
    let csv = std::fs::read_to_string(csv).expect("a table");
    assert_eq!(csv.lines().count(), 1 + 2 * rows.len(), "{csv}");
    assert!(csv.contains(",bf16,prelu,forward_backward,"), "{csv}");
    // All activations.
    let mut all = bench();
    all.args(["--dtype", "f16"]);
    let report = json(all);
    let rows = report["measurements"].as_array().map(Vec::len);
    assert_eq!(rows, Some(Activation::all().count()));
    let mut flat = mish(&["bench", "activations"]);
    flat.args(["--shape", "8"]);
    assert!(failure(flat, 2).contains("--shape needs"));
}

#[test]
fn operations_are_counted_by_hand() {
    // ResNet-20 on one image: the stem, three stages of six convolutions, and the classifier. In the
    // second and third stage, the first convolution has half the input channels, and there is a 1x1
    // shortcut.
    let step = network("infer", &[]);
    let plane = |channels: u64, size: u64| channels * size * size;
    let mut products = plane(16, 32) * 27 + 6 * plane(16, 32) * 16 * 9;
    for (channels, size) in [(32, 16), (64, 8)] {
        products += plane(channels, size) * (9 * (channels / 2 + 5 * channels) + channels / 2);
    }
    products += 64 * 100;
    let operations = number(&step, "gflops") * number(&step, "median_ms") * 1e6 / 4.0;
    let ratio = operations / (2 * products) as f64;
    assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
    assert!(step.get("profile").is_none());
}

#[test]
fn ops_are_compared_with_candles() {
    let filter = |text: &str, flags: &[&str]| {
        let mut command = mish(&["bench", "ops", "--rounds", "1", "--filter", text]);
        command.args(flags);
        json(command)
    };
    let rows = filter("c1x1", &[]);
    let names: Vec<_> = rows.as_array().into_iter().flatten().collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0]["name"], "conv_c1x1_128x64x16_fwd");
    assert_eq!(names[1]["name"], "conv_c1x1_128x64x16_fwdbwd");
    assert!(number(names[0], "gflops") > 0.0);
    assert!(number(names[1], "candle_median_ms") > 0.0);
    let rows = filter("cross_entropy", &["--ours-only"]);
    assert!(number(&rows[0], "gb_per_second") > 0.0);
    assert!(rows[0].get("candle_median_ms").is_none());
    let line = failure(mish(&["bench", "ops", "--filter", "nothing"]), 2);
    assert!(line.contains("nothing"), "{line}");
}

#[test]
fn mish_is_compared_with_its_peers() {
    let flags = ["bench", "mish", "--shape", "8,1000", "--rounds", "1"];
    let mut command = mish(&flags);
    command.args(["--threads", "1"]);
    let report = json(command);
    assert_eq!(number(&report, "threads"), 1.0);
    assert!(number(&report, "forward_speedup") > 0.0);
    assert_eq!(report["measurements"].as_array().map(Vec::len), Some(13));
    let line = failure(mish(&["bench", "mish", "--shape", "8,0"]), 2);
    assert!(line.contains("no elements"), "{line}");
}

#[test]
fn activations_are_listed() {
    let rows = json(mish(&["activations"]));
    let rows = rows.as_array().expect("a list");
    let names: HashSet<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, Activation::all().map(|a| a.name()).collect());
    let row = |name: &str| {
        let found = rows.iter().find(|row| row["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {rows:?}"))
    };
    assert_eq!(row("mish")["fused"], true);
    assert_eq!(row("aria2")["fused"], false);
    assert_eq!(row("leaky_relu")["parameters"][0]["name"], "slope");
    assert_eq!(number(&row("leaky_relu")["parameters"][0], "default"), 0.01);
    assert_eq!(row("prelu")["learned"], true);
    assert_eq!(row("silu")["aliases"][0], "swish");
    let text = mish(&["activations"]).output().expect("started");
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.contains("slope = 0.01"), "{text}");
}

#[test]
fn steps_of_many_ranks_are_predicted_from_one_process() {
    let bench = || {
        mish(&[
            "bench",
            "ranks",
            "mlp_2x8",
            "--batch-size",
            "4",
            "--steps",
            "2",
        ])
    };
    let error = failure(bench(), 2);
    assert!(error.contains("mpirun -n N"), "{error}");
    let mut command = bench();
    command.args(["--latency-us", "100"]);
    assert!(failure(command, 2).contains("--bandwidth-gbs"));
    let link = ["--latency-us", "100", "--bandwidth-gbs", "0.001"];
    let mut command = bench();
    command.args(link);
    let report = json(command);
    let compute = 1e-3 * number(&report["alone"], "median_ms");
    let bytes = number(&report, "gradient_bytes");
    let two = &report["predictions"][0];
    assert_eq!(number(two, "ranks"), 2.0);
    // Two messages, and each byte passes once.
    let sums = 2.0 * 1e-4 + bytes / 1e6;
    assert!((number(two, "sums_seconds") / sums - 1.0).abs() < 1e-9);
    assert!((number(two, "after_seconds") / (compute + sums) - 1.0).abs() < 1e-9);
}
