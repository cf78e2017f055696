//! The commands other than training.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_mish::nn::ParamStore;
use candle_mish_models as models;

use crate::{failure, json, mish, train};

#[test]
fn models_are_listed() {
    let rows = json(mish(&["models"]));
    let rows = rows.as_array().expect("a list");
    assert_eq!(rows.len(), models::entries().count());
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().expect("a name"))
        .collect();
    assert!(names.contains(&"resnet20"));
    let filtered = json(mish(&["models", "resnet2*"]));
    let filtered = filtered.as_array().expect("a list");
    assert!(!filtered.is_empty() && filtered.len() < names.len());
    assert_eq!(filtered[0]["cifar"]["params"], 278_324);
    // A pattern with a wildcard matches whole names.
    let names = |pattern: &str| -> Vec<String> {
        let rows = json(mish(&["models", pattern]));
        let rows = rows.as_array().expect("a list").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_string())
            .collect()
    };
    assert!(names("resnet*").iter().all(|name| !name.starts_with("se")));
    assert_eq!(names("resnet?4"), ["resnet34", "resnet44"]);
    assert!(names("resnet").contains(&"seresnet18".to_string()));
    let text = mish(&["models"]).output().expect("started");
    assert!(String::from_utf8_lossy(&text.stdout).contains("resnet20"));
    let none = failure(mish(&["models", "resnet_20"]), 2);
    assert!(none.contains("did you mean 'resnet20'?"), "{none}");
}

#[test]
fn the_layers_of_a_network_are_shown() {
    let network = json(mish(&["models", "resnet20", "--num-classes", "10"]));
    let layers = network["layers"].as_array().expect("a list");
    let sum = |key: &str| -> u64 { layers.iter().filter_map(|l| l[key].as_u64()).sum() };
    // 90 fewer classes of 64 weights and a bias.
    assert_eq!(network["params"], 278_324 - 90 * 65);
    assert_eq!(network["params"], sum("params"));
    assert_eq!(network["multiply_adds"], sum("multiply_adds"));
    let fc = layers.last().expect("a layer");
    assert_eq!((&fc["path"], &fc["kind"]), (&"fc".into(), &"Linear".into()));
    assert_eq!(fc["output"], serde_json::json!([10]));
    let table = mish(&["models", "resnet20"]).output().expect("started");
    let table = String::from_utf8(table.stdout).expect("text");
    for part in [
        "layer3.2.bn2",
        "BatchNorm2d",
        "64x8x8",
        "278,324",
        "40,818,944",
    ] {
        assert!(table.contains(part), "{table}");
    }
    let wrong = failure(mish(&["models", "resnet20", "--stem", "imagenet"]), 2);
    assert!(
        wrong.contains("resnet20 is for 32x32 images only"),
        "{wrong}"
    );
}

#[test]
fn networks_that_no_memory_holds_are_refused() {
    for (flags, code, parts) in [
        (&["mlp_1000x10000"][..], 2, &["parameters"][..]),
        (
            &["resnet20", "--img-size", "100000"],
            2,
            &["--img-size", "100000"],
        ),
        (
            &["resnet20", "--num-classes", "1000000000"],
            2,
            &["--num-classes", "1000000000"],
        ),
        (
            &["capsnet", "--num-classes", "50000"],
            1,
            &["at most 4000 classes"],
        ),
    ] {
        let mut command = mish(&["models"]);
        command.args(flags);
        let message = failure(command, code);
        for part in parts {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
    }
}

/// `cargo run --release -- models --markdown > docs/models.md` brings it up to date.
#[test]
fn the_page_of_the_networks_is_current() {
    let page = mish(&["models", "--markdown"]).output().expect("started");
    let page = String::from_utf8(page.stdout).expect("text");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/models.md");
    let stored = std::fs::read_to_string(path).expect("the page");
    assert!(page == stored, "docs/models.md is out of date");
}

/// A checkpoint without our header, as other frameworks write it, and a file with images.
#[test]
fn logits_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = ParamStore::new(DType::F32, &Device::Cpu, 1);
    let spec = models::ModelSpec {
        num_classes: 7,
        ..models::ModelSpec::new("resnet20")
    };
    let model = models::create(&spec, store.var_builder()).expect("built");
    let weights = folder.path().join("weights.safetensors");
    let tensors: HashMap<String, Tensor> = store.tensors().into_iter().collect();
    candle_core::safetensors::save(&tensors, &weights).expect("saved");
    let images = Tensor::arange(0f32, 3. * 3. * 32. * 32., &Device::Cpu)
        .and_then(|x| (x / 1000.)?.sin()?.reshape((3, 3, 32, 32)))
        .expect("images");
    let input = folder.path().join("input.safetensors");
    let of = |name: &str, tensor: &Tensor| HashMap::from([(name.to_string(), tensor.clone())]);
    candle_core::safetensors::save(&of("input", &images), &input).expect("saved");
    let out = folder.path().join("logits.json");
    let predict = |input: &Path, flags: &[&str]| {
        let mut command = mish(&["predict", "resnet20", "--activation", "mish"]);
        command.arg(input).arg("--weights").arg(&weights);
        command.arg("--logits").arg(&out).args(flags);
        command
    };
    predict(&input, &[]).assert().success();
    let written = std::fs::read_to_string(&out).expect("logits");
    let written: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    let want = model.forward_t(&images, false).expect("logits");
    let want = want.to_vec2::<f32>().expect("logits");
    for (got, want) in written["logits"]
        .as_array()
        .expect("rows")
        .iter()
        .zip(&want)
    {
        for (got, want) in got.as_array().expect("a row").iter().zip(want) {
            let got = got.as_f64().expect("a number") as f32;
            assert!((got - want).abs() < 1e-4, "{got} is not {want}");
        }
    }
    assert_eq!(written["logits"].as_array().map(Vec::len), Some(3));
    assert_eq!(written["logits"][0].as_array().map(Vec::len), Some(7));

    std::fs::remove_file(&out).expect("removed");
    let broken = (&images * f64::NAN).expect("images");
    candle_core::safetensors::save(&of("input", &broken), &input).expect("saved");
    let error = failure(predict(&input, &[]), 1);
    assert!(error.contains("not finite") && !out.exists(), "{error}");
    candle_core::safetensors::save(&of("images", &images), &input).expect("saved");
    let error = failure(predict(&input, &[]), 1);
    assert!(error.contains("no tensor 'input'"), "{error}");
    let flat = images.flatten_all().expect("flat");
    candle_core::safetensors::save(&of("input", &flat), &input).expect("saved");
    let error = failure(predict(&input, &[]), 1);
    assert!(error.contains("must be [N, C, H, W]"), "{error}");
    let output = predict(&folder.path().join("none.png"), &[]).output();
    let output = output.expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot read") && stderr.contains("none.png"),
        "{stderr}"
    );
    let error = failure(predict(&input, &["--num-classes", "9"]), 1);
    assert!(error.contains("9 classes"), "{error}");
    assert!(!out.exists());
}

#[test]
fn the_form_and_the_random_layers_of_a_network_are_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--epochs", "1", "--drop", "0.2", "--drop-path", "0.1"];
    train(&run, &flags).assert().success();
    let config = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    let config: toml::Table = config.parse().expect("TOML");
    assert_eq!(config["stem"].as_str(), Some("cifar"));
    assert_eq!(config["drop"].as_float(), Some(0.2));
    assert_eq!(config["drop_path"].as_float(), Some(0.1));
    let mut eval = mish(&["eval", "--limit-test", "40", "--weights"]);
    eval.arg(run.join("last.safetensors"));
    assert_eq!(json(eval)["images"], 40);
    for wrong in [["--drop", "1.5"], ["--drop-path", "-1"]] {
        let error = failure(train(&folder.path().join("wrong"), &wrong), 2);
        assert!(error.contains("from 0 to less than 1"), "{error}");
    }
}

#[test]
fn a_dry_run_prints_what_would_be_trained() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("recipe.toml");
    std::fs::write(&recipe, "lr = 0.05\nopt = 'adamw'\nepochs = 7\n").expect("written");
    let run = folder.path().join("run");
    let mut command = train(&run, &["--dry-run", "--activation", "swish", "--recipe"]);
    command.arg(&recipe);
    let config = json(command);
    assert_eq!(config["activation"], "silu");
    assert_eq!(config["recipe"]["lr"], 0.05);
    assert_eq!(config["recipe"]["opt"], "adamw");
    assert_eq!(config["recipe"]["epochs"], 2, "flags override the file");
    assert_eq!(config["data"]["limit_train"], 96);
    assert!(!run.exists());
    let text = train(&run, &["--dry-run"]).output().expect("started");
    let text = String::from_utf8(text.stdout).expect("text");
    let table: toml::Table = text.parse().expect("TOML");
    assert_eq!(table["model"].as_str(), Some("resnet20"));
}

#[test]
fn a_network_brings_what_its_recipe_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, "lr = 0.5\nepochs = 7\n").expect("written");
    let file = file.to_str().expect("text");
    let recipe = |model: &str, flags: &[&str]| {
        let mut command = mish(&["train", model, "--dry-run"]);
        command.args(flags);
        json(command)["recipe"].take()
    };
    let own = recipe("capsnet", &[]);
    assert_eq!(
        (own["loss"].as_str(), own["opt"].as_str()),
        (Some("margin"), Some("adam"))
    );
    let other = recipe("capsnet", &["--recipe", file, "--loss", "cross_entropy"]);
    assert_eq!(
        (other["lr"].as_f64(), other["epochs"].as_u64()),
        (Some(0.5), Some(7))
    );
    let names = (other["loss"].as_str(), other["opt"].as_str());
    assert_eq!(names, (Some("cross_entropy"), Some("adam")));
    assert_eq!(recipe("cnn6", &[])["loss"], "cross_entropy");
    for entry in models::entries().filter(|entry| !entry.recipe.is_empty()) {
        recipe(entry.name, &[]);
    }
}

#[test]
fn images_are_classified() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    let weights = run.join("last.safetensors");
    let image = folder.path().join("image.png");
    let pixels =
        image::RgbImage::from_fn(48, 40, |x, y| image::Rgb([x as u8 * 5, y as u8 * 6, 99]));
    pixels.save(&image).expect("an image");
    let predict = |more: &[&str]| {
        let mut command = mish(&["predict", "--weights"]);
        command.arg(&weights).arg(&image).args(more);
        command
    };
    let answer = json(predict(&["--top", "100"]));
    let classes = answer[0]["classes"].as_array().expect("a list");
    assert_eq!(classes.len(), 100);
    let probability = |i: usize| classes[i]["probability"].as_f64().expect("a number");
    let sum: f64 = (0..100).map(probability).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    assert!((1..100).all(|i| probability(i) <= probability(i - 1)));
    let text = predict(&[]).output().expect("started");
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(
        text.contains("image.png: ") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn help_version_and_completions_are_printed() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["train", "--help"],
        &["data", "preview", "--help"],
        &["completions", "bash"],
    ] {
        let output = mish(args).output().expect("started");
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn the_log_file_holds_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log.txt");
    let mut command = train(&folder.path().join("run"), &["--epochs", "1", "--log-file"]);
    command.arg(&log).assert().success();
    let text = std::fs::read_to_string(&log).expect("a log");
    assert!(
        text.contains("epoch 1/1") && text.contains("resnet20"),
        "{text}"
    );
}
