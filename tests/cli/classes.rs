//! Names before positions: folders and data sets whose classes differ from the network's, in the
//! same order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint;
use candle_mish::data::imagenet;
use candle_mish::nn::ParamStore;
use candle_mish_models::{self as models, ModelSpec};
use serde_json::Value;

use crate::{failure, json, mish, success};

/// A ResNet-20 whose logits are `bias` for every image, with class names if there are any.
fn constant(path: &Path, bias: &[f32], classes: Option<&[&str]>) -> PathBuf {
    let spec = ModelSpec {
        num_classes: bias.len(),
        ..ModelSpec::new("resnet20")
    };
    let store = ParamStore::new(DType::F32, &Device::Cpu, 5);
    models::create(&spec, store.var_builder()).expect("built");
    let mut header = spec.to_metadata();
    let mut set = |key: &str, value: String| header.insert(key.to_string(), value);
    if let Some(classes) = classes {
        set("classes", serde_json::json!(classes).to_string());
    }
    set("image_size", "32".to_string());
    set("mean", "[0.5,0.5,0.5]".to_string());
    set("std", "[0.25,0.25,0.25]".to_string());
    let mut tensors: BTreeMap<String, Tensor> = store.tensors().into_iter().collect();
    let weight = tensors["fc.weight"].zeros_like().expect("zeros");
    tensors.insert("fc.weight".to_owned(), weight);
    let bias = Tensor::new(bias, &Device::Cpu).expect("a bias");
    tensors.insert("fc.bias".to_owned(), bias);
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    checkpoint::write(path, &tensors, &header).expect("written");
    path.to_path_buf()
}

/// A folder with this number of images in each class folder.
fn tree(root: &Path, classes: &[(&str, usize)]) -> String {
    for (class, count) in classes {
        let folder = root.join(class);
        std::fs::create_dir_all(&folder).expect("a folder");
        for i in 0..*count {
            let image = image::RgbImage::from_pixel(32, 32, image::Rgb([40 * i as u8; 3]));
            image.save(folder.join(format!("{i}.png"))).expect("saved");
        }
    }
    format!("folder:{}", root.display())
}

fn eval(weights: &Path, data: &str, flags: &[&str]) -> Command {
    let mut command = mish(&["eval", "--weights"]);
    command.arg(weights).args(["--dataset", data]).args(flags);
    command
}

/// The mean cross-entropy of logits over labels.
fn loss(logits: &[f64], labels: &[usize]) -> f64 {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let total: f64 = labels.iter().map(|label| sum.ln() - logits[*label]).sum();
    total / labels.len() as f64
}

fn assert_close(got: &Value, want: f64) {
    let got = got.as_f64().expect("a number");
    assert!((got - want).abs() < 1e-6, "{got} {want}");
}

#[test]
fn a_subset_of_the_classes_is_matched_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    // The network calls every image a, and prefers b to c.
    let weights = constant(
        &folder.path().join("w.safetensors"),
        &[3.0, 2.0, 1.0],
        Some(&["a", "b", "c"]),
    );
    let data = tree(&folder.path().join("images"), &[("b", 2), ("c", 1)]);
    let answer = json(eval(&weights, &data, &[]));
    assert_eq!(
        (&answer["images"], &answer["top1"]),
        (&3.into(), &0.0.into())
    );
    assert_eq!(answer["top5"], 1.0);
    assert_close(&answer["loss"], loss(&[3.0, 2.0, 1.0], &[1, 1, 2]));
    let subset = &answer["subset"];
    assert_eq!(
        (&subset["classes"], &subset["images"]),
        (&2.into(), &3.into())
    );
    assert_close(&subset["top1"], 2.0 / 3.0);
    assert_close(&subset["loss"], loss(&[2.0, 1.0], &[0, 0, 1]));
    let (text, stderr) = success(eval(&weights, &data, &[]));
    assert!(
        stderr.contains("has 2 of the network's 3 classes"),
        "{stderr}"
    );
    assert!(text.contains("top-1 0.00 %"), "{text}");
    assert!(
        text.contains("among the 2 of 3 classes that folder:images has: top-1 66.67 %"),
        "{text}"
    );
    // All classes in another order: no subset.
    let other = constant(
        &folder.path().join("other.safetensors"),
        &[3.0, 2.0, 1.0],
        Some(&["c", "b", "a"]),
    );
    let whole = tree(
        &folder.path().join("whole"),
        &[("a", 1), ("b", 1), ("c", 2)],
    );
    let answer = json(eval(&other, &whole, &[]));
    assert_eq!(
        (&answer["top1"], &answer["subset"]),
        (&0.5.into(), &Value::Null)
    );
    assert_close(&answer["loss"], loss(&[3.0, 2.0, 1.0], &[2, 1, 0, 0]));
    assert_eq!(success(eval(&other, &whole, &[])).1, "");
    // A swap measures the same images.
    let mut swap = mish(&["swap", "--to", "relu", "--recalibrate", "0", "--weights"]);
    swap.arg(&other).args(["--dataset", &whole]);
    let report = json(swap);
    assert_eq!(report["rows"][0]["comparison"]["top1"]["value"], 0.5);
}

#[test]
fn folders_of_imagenet_have_its_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    // Every image is a tabby, 281; then a tench, 0.
    let mut bias = vec![0f32; 1000];
    (bias[281], bias[0], bias[1]) = (5.0, 4.0, 3.0);
    let weights = constant(
        &folder.path().join("w.safetensors"),
        &bias,
        Some(&imagenet::NAMES),
    );
    assert_eq!(imagenet::NAMES[281], "tabby");
    // WordNet identifiers, readable names, and the numbers of ImageNet-V2.
    for (name, classes) in [
        (
            "ids",
            [("n02123045", 2), ("n01440764", 1), ("n01443537", 1)],
        ),
        ("names", [("tabby", 2), ("tench", 1), ("goldfish", 1)]),
        ("numbers", [("281", 2), ("0", 1), ("1", 1)]),
    ] {
        let data = tree(&folder.path().join(name), &classes);
        let answer = json(eval(&weights, &data, &[]));
        assert_eq!(answer["top1"], 0.5, "{name}: {answer}");
        assert_eq!(answer["subset"]["classes"], 3);
        assert_eq!(answer["subset"]["top1"], 0.5);
        let wide: Vec<f64> = bias.iter().map(|b| f64::from(*b)).collect();
        assert_close(&answer["loss"], loss(&wide, &[281, 281, 0, 1]));
        assert_close(
            &answer["subset"]["loss"],
            loss(&[4.0, 3.0, 5.0], &[2, 2, 0, 1]),
        );
    }
    // As in ImageNet-A: the most likely class of all is absent.
    let data = tree(
        &folder.path().join("hard"),
        &[("n01440764", 3), ("n01443537", 1)],
    );
    let answer = json(eval(&weights, &data, &[]));
    assert_eq!(
        (&answer["top1"], &answer["top5"]),
        (&0.0.into(), &1.0.into())
    );
    assert_eq!(answer["subset"]["top1"], 0.75);
    let image = folder.path().join("hard/n01440764/0.png");
    let mut predict = mish(&["predict", "--topk", "2", "--weights"]);
    let (text, _) = success({
        predict.arg(&weights).arg(&image);
        predict
    });
    assert!(text.contains("tabby") && text.contains("tench"), "{text}");
}

#[test]
fn folders_that_the_network_does_not_know_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = constant(
        &folder.path().join("w.safetensors"),
        &[3.0, 2.0, 1.0],
        Some(&["a", "b", "c"]),
    );
    let root = folder.path().join("images");
    let data = tree(&root, &[("a", 1), ("b", 1), ("B", 1), ("zebra", 2)]);
    let error = failure(eval(&weights, &data, &[]), 1);
    for part in [
        "2 of 4",
        "B, zebra",
        "--class-map",
        "--ignore-unknown-classes",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let mut swap = mish(&["swap", "--to", "relu", "--weights"]);
    swap.arg(&weights).args(["--dataset", &data]);
    let error = failure(swap, 1);
    assert!(error.contains("B, zebra"), "{error}");
    // Without them, a and b are left.
    let ignoring = json(eval(&weights, &data, &["--ignore-unknown-classes"]));
    assert_eq!(
        (&ignoring["images"], &ignoring["top1"]),
        (&2.into(), &0.5.into())
    );
    assert_eq!(ignoring["subset"]["classes"], 2);
    let stderr = success(eval(&weights, &data, &["--ignore-unknown-classes"])).1;
    assert!(stderr.contains("B (1), zebra (2)"), "{stderr}");
    // With a class map, every folder has a label.
    let map = folder.path().join("map.txt");
    std::fs::write(&map, "a,0\nb,1\nB,1\nzebra,2\n").expect("written");
    let mapped = json(eval(
        &weights,
        &data,
        &["--class-map", map.to_str().expect("text")],
    ));
    assert_eq!(
        (&mapped["images"], &mapped["top1"]),
        (&5.into(), &0.2.into())
    );
    assert_close(&mapped["loss"], loss(&[3.0, 2.0, 1.0], &[0, 1, 1, 2, 2]));
    assert_eq!(mapped["subset"], Value::Null);
    let only = tree(&folder.path().join("only"), &[("zebra", 1)]);
    let error = failure(eval(&weights, &only, &[]), 1);
    assert!(error.contains("1 of 1"), "{error}");
}

#[test]
fn weights_without_names_count_by_position_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = constant(&folder.path().join("w.safetensors"), &[1.0, 2.0, 3.0], None);
    let data = tree(
        &folder.path().join("three"),
        &[("x", 1), ("y", 1), ("z", 2)],
    );
    assert_eq!(json(eval(&weights, &data, &[]))["top1"], 0.5);
    let stderr = success(eval(&weights, &data, &[])).1;
    for part in ["does not record the names", "from x to z", "--class-map"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    for (name, classes) in [
        ("two", &[("x", 1), ("y", 1)][..]),
        ("four", &[("w", 1), ("x", 1), ("y", 1), ("z", 1)]),
    ] {
        let data = tree(&folder.path().join(name), classes);
        let error = failure(eval(&weights, &data, &[]), 1);
        for part in ["3 classes without names", "--class-map"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

/// Weights of 1000 classes that record neither names nor a data set.
#[test]
fn a_thousand_classes_without_names_are_those_of_imagenet() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bias = vec![0f32; 1000];
    (bias[281], bias[0]) = (5.0, 4.0);
    let weights = constant(&folder.path().join("w.safetensors"), &bias, None);
    let data = tree(
        &folder.path().join("val"),
        &[("n01440764", 1), ("n02123045", 3)],
    );
    let (text, stderr) = success(eval(&weights, &data, &[]));
    assert!(text.contains("top-1 75.00 %"), "{text}");
    for part in ["assuming ImageNet-1k's", "--class-map"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    let mut predict = mish(&["predict", "--topk", "2", "--weights"]);
    predict
        .arg(&weights)
        .arg(folder.path().join("val/n01440764"));
    let (text, stderr) = success(predict);
    assert!(text.contains("tabby") && text.contains("tench"), "{text}");
    assert!(stderr.contains("assuming ImageNet-1k's"), "{stderr}");
}

/// CIFAR in the binary layout: an image of each label, with its coarse label or without.
fn cifar(folder: &Path, files: [&[&str]; 2], record: impl Fn(u8) -> Vec<u8>, classes: u8) {
    std::fs::create_dir_all(folder).expect("a folder");
    let records: Vec<u8> = (0..classes).flat_map(record).collect();
    for file in files.concat() {
        std::fs::write(folder.join(file), &records).expect("written");
    }
}

#[test]
fn data_sets_are_matched_by_name_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let (hundred, ten) = (home.join("cifar100"), home.join("cifar10"));
    let pixels = || vec![90; 3072];
    cifar(
        &hundred,
        [&["train.bin"], &["test.bin"]],
        |label| [vec![label / 5, label], pixels()].concat(),
        100,
    );
    let train = [1, 2, 3, 4, 5].map(|i| format!("data_batch_{i}.bin"));
    let train: Vec<&str> = train.iter().map(String::as_str).collect();
    cifar(
        &ten,
        [&train, &["test_batch.bin"]],
        |label| [vec![label], pixels()].concat(),
        10,
    );
    let eval = |weights: &Path, name: &str, data: &Path| {
        let mut command = eval(weights, name, &["--data-dir"]);
        command.arg(data).arg("--cache-dir").arg(home.join("cache"));
        command
    };
    let names = candle_mish::data::names::CIFAR10;
    // It calls every image a cat.
    let mut bias = [0f32; 10];
    bias[3] = 1.0;
    let weights = constant(&home.join("ten.safetensors"), &bias, Some(&names));
    assert_eq!(json(eval(&weights, "cifar10", &ten))["top1"], 0.1);
    let output = eval(&weights, "cifar100", &hundred)
        .output()
        .expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("100 of 100"), "{stderr}");
    // The same classes in another order.
    let mut reversed = names;
    reversed.reverse();
    let weights = constant(&home.join("reversed.safetensors"), &bias, Some(&reversed));
    let answer = json(eval(&weights, "cifar10", &ten));
    assert_eq!(
        (&answer["top1"], &answer["subset"]),
        (&0.1.into(), &Value::Null)
    );
    // Without names, the number of classes must agree.
    let bare = constant(&home.join("bare.safetensors"), &bias, None);
    assert_eq!(json(eval(&bare, "cifar10", &ten))["top1"], 0.1);
    let output = eval(&bare, "cifar100", &hundred).output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("10 classes without names, cifar100 has 100"),
        "{stderr}"
    );
}
