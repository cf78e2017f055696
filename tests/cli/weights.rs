//! Initial, averaged and normalised weights, from the command line to the checkpoint and back.

use std::path::Path;

use assert_cmd::Command;
use candle_mish::checkpoint;
use candle_mish::nn::{Initialiser, gain};
use serde_json::Value;

use crate::{failure, json, mish, success};

/// A training of an instant into `folder`, with more flags.
fn train(folder: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["train", "mlp_2x8", "--dataset", "synthetic", "--output"]);
    command.arg(folder);
    command.args(["--limit-train", "256", "--limit-test", "64"]);
    command.args(["--batch-size", "32", "--threads", "1", "--epochs", "3"]);
    command.args(flags);
    command
}

fn eval(run: &Path, file: &str) -> Value {
    let mut command = mish(&["eval", "--threads", "1", "--weights"]);
    command.arg(run.join(file));
    json(command)
}

fn config(run: &Path) -> toml::Table {
    let text = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    text.parse().expect("TOML")
}

#[test]
fn averages_are_recorded_and_evaluated_from_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--model-ema", "--model-ema-warmup", "--swa-start", "2"];
    let flags = [&flags[..], &["--swa-lr", "0.05", "--drop", "0.1"]].concat();
    let (stdout, stderr) = success(train(&run, &flags));
    assert!(stdout.contains(" EMA top-1 "), "{stdout}");
    assert!(stdout.contains(" SWA top-1 "), "{stdout}");
    assert_eq!(stderr.matches("ema loss").count(), 3, "{stderr}");
    let recipe = config(&run)["recipe"].clone();
    assert_eq!(recipe["model_ema_decay"].as_float(), Some(0.9998));
    assert_eq!(recipe["swa_anneal_epochs"].as_integer(), Some(10));
    let summary = std::fs::read_to_string(run.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    for (file, expected) in [
        ("best_ema.safetensors", &summary["ema"]["best"]),
        ("last_ema.safetensors", &summary["ema"]["last"]),
        ("swa.safetensors", &summary["swa"]),
    ] {
        let found = eval(&run, file);
        for figure in ["images", "top1", "top5", "loss"] {
            assert_eq!(found[figure], expected[figure], "{file}: {figure}");
        }
    }
    // A finished run is resumed with the same averages.
    let mut resume = mish(&["train", "--threads", "1", "--resume"]);
    resume.arg(&run);
    let again = json(resume);
    assert_eq!(
        (&again["ema"], &again["swa"]),
        (&summary["ema"], &summary["swa"])
    );
}

#[test]
fn a_network_is_initialised_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    // The rate is too small to change the weights.
    let flags = ["--lr", "1e-12", "--weight-decay", "0", "--epochs", "1"];
    let name = ["--init", "kaiming_uniform", "--activation", "tanh"];
    train(&run, &[&flags[..], &name].concat())
        .assert()
        .success();
    let recipe = config(&run)["recipe"].clone();
    assert_eq!(recipe["init"].as_str(), Some("he_uniform"));
    let weights = checkpoint::read(&run.join("last.safetensors")).expect("weights");
    let weight = |name: &str| -> Vec<f32> {
        let tensor = &weights.tensors[name];
        tensor.flatten_all().and_then(|t| t.to_vec1()).expect("f32")
    };
    let name = weights
        .tensors
        .keys()
        .filter(|name| name.ends_with(".weight"));
    let first = name
        .max_by_key(|name| weights.tensors[*name].elem_count())
        .expect("a weight");
    let dims = weights.tensors[first].dims();
    let gain = gain(&"tanh".parse().expect("an activation"));
    let bound = match Initialiser::HeUniform.distribution(dims, gain) {
        candle_mish::nn::WeightDistribution::Uniform { bound } => bound,
        other => panic!("{other:?}"),
    };
    let most = weight(first).iter().fold(0f32, |most, x| most.max(x.abs()));
    let most = f64::from(most);
    assert!(
        most <= bound * 1.000_001 && most > 0.999 * bound,
        "{most} {bound}"
    );
    let error = failure(train(&run, &["--init", "he"]), 2);
    assert!(error.contains("unknown initialiser 'he'"), "{error}");
    let mut other = train(&folder.path().join("other"), &["--init", "he_normal"]);
    other.arg("--pretrained").arg(run.join("last.safetensors"));
    let error = failure(other, 2);
    assert!(error.contains("--init draws random weights"), "{error}");
    let error = failure(train(&run, &["--init-gain", "2"]), 2);
    assert!(error.contains("--init-gain needs --init"), "{error}");
}

#[test]
fn batch_norms_take_their_constants() {
    let folder = tempfile::tempdir().expect("a folder");
    let [plain, run] = ["plain", "run"].map(|name| folder.path().join(name));
    train(&plain, &[]).assert().success();
    let flags = ["--bn-momentum", "0.5", "--bn-eps", "0.25"];
    let summary = json(train(&run, &flags));
    let own = config(&run);
    assert_eq!(own["bn_momentum"].as_float(), Some(0.5));
    assert_eq!(own["bn_eps"].as_float(), Some(0.25));
    assert!(!config(&plain).contains_key("bn_eps"));
    let header = |run: &Path| {
        let file = checkpoint::read(&run.join("last.safetensors")).expect("weights");
        file.metadata.get("bn_eps").cloned()
    };
    assert_eq!(header(&run).as_deref(), Some("0.25"));
    assert_eq!(header(&plain), None);
    // The header decides the evaluation.
    assert_eq!(
        eval(&run, "last.safetensors")["loss"],
        summary["final_loss"]
    );
    let mut other = mish(&["eval", "--threads", "1", "--bn-eps", "1e-5", "--weights"]);
    other.arg(run.join("last.safetensors"));
    assert_ne!(json(other)["loss"], summary["final_loss"]);
}

#[test]
fn options_without_effect_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (model, flags, lacks) in [
        ("cnn6", ["--drop-path", "0.1"], "residual blocks"),
        ("vgg11", ["--bn-eps", "0.001"], "batch norms"),
        ("vgg11", ["--bn-momentum", "0.01"], "batch norms"),
        ("resnet20", ["--gate", "hard_sigmoid"], "gates"),
        ("mobilenetv1_100", ["--drop-path", "0.1"], "residual blocks"),
    ] {
        let run = folder.path().join("run");
        let mut command = mish(&["train", model, "--dataset", "synthetic", "--output"]);
        command.arg(&run).args(flags);
        let error = failure(command, 2);
        let said = format!(
            "{} has no effect on {model}, which has no {lacks}",
            flags[0]
        );
        assert!(error.contains(&said), "{error}");
        assert!(!run.exists());
    }
}
