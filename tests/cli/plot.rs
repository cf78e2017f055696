//! `mish plot`.

use std::path::Path;

use crate::{failure, json, mish, success};

fn plot(folder: &Path, args: &[&str]) -> assert_cmd::Command {
    let mut command = mish(&["plot"]);
    command.args(args).current_dir(folder);
    command
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn activations_need_no_subcommand() {
    let folder = tempfile::tempdir().expect("a folder");
    let (text, _) = success(plot(folder.path(), &["mish", "relu", "silu", "mish"]));
    assert!(text.contains("value, first derivative, second derivative of mish, relu and silu"));
    let svg = read(&folder.path().join("activations.svg"));
    assert_eq!(svg.matches("translate(").count(), 3);
    let flags = [
        "activations",
        "mish",
        "--range",
        "-2",
        "2",
        "--derivative",
        "0,1",
    ];
    let mut command = plot(folder.path(), &flags);
    command.args(["--points", "5", "--output", "a.svg", "--csv", "a.csv"]);
    assert_eq!(json(command)["points"], 5);
    let csv = read(&folder.path().join("a.csv"));
    assert_eq!(
        csv.lines().next(),
        Some("activation,x,value,first_derivative")
    );
    assert_eq!(csv.lines().count(), 6);
}

#[test]
fn wrong_flags_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = |args: &[&str]| failure(plot(folder.path(), args), 2);
    assert!(error(&["mish", "--range", "2", "-2"]).contains("LOW must be less than HIGH"));
    assert!(error(&["mihs"]).contains("did you mean 'mish'"));
    let signal = ["signal", "mish", "--model", "resnet20", "--width", "8"];
    assert!(error(&signal).contains("--width"));
    assert!(error(&["signal", "mish", "--model", "resnet21"]).contains("did you mean"));
    assert!(
        std::fs::read_dir(folder.path())
            .expect("a folder")
            .next()
            .is_none()
    );
}

#[test]
fn edges_of_chaos_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        "edge-of-chaos",
        "relu",
        "tanh",
        "--csv",
        "edge.csv",
        "--output",
        "edge.svg",
    ];
    let rows = json(plot(folder.path(), &flags));
    let critical = rows[0]["edges"][0]["sigma_w"].as_f64().expect("a number");
    assert!((critical - 2f64.sqrt()).abs() < 1e-9);
    assert_eq!(rows[0]["fixed_point"]["phase"], "edge");
    assert_eq!(rows[1]["edges"][0]["q"], 0.0);
    assert_eq!(read(&folder.path().join("edge.csv")).lines().count(), 3);
    assert!(read(&folder.path().join("edge.svg")).contains("Edge of chaos of relu and tanh"));
}

#[test]
fn signals_are_measured_in_dense_networks_and_the_zoo() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        "signal", "relu", "--depth", "5", "--width", "32", "--inputs", "4",
    ];
    let rows = json(plot(folder.path(), &flags));
    assert_eq!(rows[0]["variances"].as_array().map(Vec::len), Some(5));
    let zoo = [
        "signal", "mish", "relu", "--model", "mlp_2x8", "--inputs", "4", "--csv", "s.csv",
    ];
    let rows = json(plot(folder.path(), &zoo));
    // Batch norm comes before each activation: the variance is 1.
    for layer in rows[0]["variances"].as_array().expect("layers") {
        let variance = layer[1].as_f64().expect("a number");
        assert!((variance - 1.0).abs() < 0.05, "{layer}");
    }
    assert_eq!(rows[1]["gradient_norms"].as_array().map(Vec::len), Some(3));
    assert!(read(&folder.path().join("s.csv")).contains("relu,gradient_norm,3,"));
}

#[test]
fn output_landscapes_are_images_and_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [
        "landscape-output",
        "mish",
        "relu",
        "--points",
        "20",
        "--csv",
        "l.csv",
    ];
    let (text, _) = success(plot(folder.path(), &flags));
    assert!(
        text.contains("mish and relu over [0, 10]^2, 20 x 20 points"),
        "{text}"
    );
    let png = std::fs::read(folder.path().join("landscape-output.png")).expect("a file");
    assert_eq!(&png[1..4], b"PNG");
    assert_eq!(read(&folder.path().join("l.csv")).lines().count(), 801);
}

/// The weights that a landscape moves are those that its network evaluates, also where convolutions
/// could keep an arrangement of their weights.
#[test]
fn landscapes_of_convolutions_are_centred_on_their_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let sizes = ["--limit-train", "64", "--limit-test", "32"];
    let training = ["--dataset", "synthetic", "--epochs", "1", "-b", "32"];
    let mut train = mish(&["train", "resnet20", "--output"]);
    train
        .arg(&run)
        .args(sizes)
        .args(training)
        .assert()
        .success();
    let weights = run.join("last.safetensors");
    let weights = weights.to_str().expect("a path");
    let loss = |value: &serde_json::Value| value["loss"].as_f64().expect("a loss");
    let evaluated = loss(&json(mish(&["eval", "--weights", weights])));
    let flags = ["loss-landscape", "--weights", weights, "--points", "3"];
    let curve = json(plot(folder.path(), &flags));
    let losses = [0, 1, 2].map(|point| loss(&curve["points"][point]["value"]));
    assert!(
        (losses[1] - evaluated).abs() < 1e-5,
        "{losses:?} {evaluated}"
    );
    assert!(
        losses[0] != losses[1] && losses[1] != losses[2],
        "{losses:?}"
    );
}

#[test]
fn trained_weights_have_histograms_and_a_landscape_around_their_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let data = [
        "--dataset",
        "synthetic",
        "--limit-train",
        "64",
        "--limit-test",
        "40",
    ];
    let mut train = mish(&[
        "train",
        "mlp_2x8",
        "--epochs",
        "1",
        "--batch-size",
        "32",
        "--output",
    ]);
    train.arg(&run).args(data).assert().success();
    let weights = run.join("last.safetensors");
    let weights = weights.to_str().expect("a path");
    let evaluated = json(mish(&["eval", "--weights", weights]));
    let flags = [
        "pre-activations",
        "--weights",
        weights,
        "--images",
        "32",
        "--csv",
        "h.csv",
    ];
    let histograms = json(plot(folder.path(), &flags));
    let layers = histograms["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 2);
    // All images count, in however many batches.
    let mut batches = plot(folder.path(), &flags);
    batches.args(["--batch-size", "8"]);
    let batches = json(batches);
    for (layer, other) in layers
        .iter()
        .zip(batches["layers"].as_array().expect("layers"))
    {
        let mean = |layer: &serde_json::Value| layer["means"][1].as_f64().expect("a number");
        assert!((mean(layer) - mean(other)).abs() < 1e-5, "{other}");
    }
    // The batch norm before the activation has the statistics of these images.
    let std = layers[0]["stds"][0].as_f64().expect("a number");
    assert!((std - 1.0).abs() < 0.05, "{std}");
    assert_eq!(
        read(&folder.path().join("h.csv")).lines().count(),
        1 + 2 * 2 * 60
    );
    let flags = [
        "loss-landscape",
        "--weights",
        weights,
        "--points",
        "3",
        "--csv",
        "loss.csv",
    ];
    let curve = json(plot(folder.path(), &flags));
    let centre = &curve["points"][1];
    assert_eq!((&centre["x"], &centre["y"]), (&0.0.into(), &0.0.into()));
    let loss = |value: &serde_json::Value| value["loss"].as_f64().expect("a loss");
    assert!((loss(&centre["value"]) - loss(&evaluated)).abs() < 1e-5);
    assert_eq!(read(&folder.path().join("loss.csv")).lines().count(), 4);
    let mut map = plot(folder.path(), &flags);
    map.args(["--form", "surface"]);
    assert!(failure(map, 2).contains("--form needs --dims 2"));
    let mut map = plot(folder.path(), &flags);
    map.args([
        "--dims", "2", "--images", "4", "--form", "surface", "--output", "s.svg",
    ]);
    map.assert().success();
    assert_eq!(
        read(&folder.path().join("s.svg"))
            .matches("<polygon fill")
            .count(),
        8
    );
    let mut map = plot(folder.path(), &flags);
    map.args(["--dims", "2", "--images", "16"]);
    let map = json(map);
    assert_eq!(
        (
            map["images"].as_u64(),
            map["points"].as_array().map(Vec::len)
        ),
        (Some(16), Some(9))
    );
    let svg = read(&folder.path().join("loss-landscape.svg"));
    assert!(
        svg.contains("log10 of loss") && svg.contains("<rect"),
        "{svg}"
    );
    let flags = ["dead-units", "--weights", weights, "--csv", "dead.csv"];
    let dead = json(plot(folder.path(), &flags));
    let layers = dead["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 2);
    for layer in layers {
        for state in ["initial", "trained"] {
            assert_eq!(layer[state]["units"], 8);
            assert_eq!(layer[state]["zero_output"], 0, "Mish has no dead units");
        }
    }
    let mut all = plot(folder.path(), &flags);
    all.args(["--threshold", "1000"]);
    let (text, _) = success(all);
    assert!(text.contains("all") && text.contains("100.0 %"), "{text}");
    assert_eq!(read(&folder.path().join("dead.csv")).lines().count(), 5);
    assert!(read(&folder.path().join("dead-units.svg")).contains("units with zero output, %"));
    let flags = [
        "hessian",
        "--weights",
        weights,
        "--images",
        "20",
        "--count",
        "2",
    ];
    let hessian = json(plot(folder.path(), &flags));
    let found = hessian["eigenvalues"].as_array().expect("eigenvalues");
    let value = |i: usize| found[i]["value"].as_f64().expect("a number");
    assert!(
        found.len() == 2 && value(0) >= value(1) && value(0) > 0.0,
        "{hessian}"
    );
    assert!(
        found[0]["residual"].as_f64() <= Some(0.01 * value(0)),
        "{hessian}"
    );
    assert!(hessian["converged"].is_boolean(), "{hessian}");
    let mut few = plot(folder.path(), &flags);
    few.args(["--products", "2", "--tolerance", "0"]);
    let (text, _) = success(few);
    assert!(text.contains("Not converged after 2 products"), "{text}");
    let mut few = plot(folder.path(), &flags);
    few.args(["--products", "1"]);
    assert!(failure(few, 2).contains("need at least as many products"));
}
