//! Folders of image files, from training to the class of an image.

use std::path::Path;

use assert_cmd::Command;

use crate::{failure, json, mish, success};

/// Images of several sizes. Their class is the brighter half.
pub(crate) fn tree(root: &Path) {
    for (split, count) in [("train", 12), ("val", 5)] {
        for (class, name) in ["left", "right"].iter().enumerate() {
            let folder = root.join(split).join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            for i in 0..count {
                let (width, height) = (40 + 3 * i, 36 + 2 * (i % 4));
                let pixels = image::RgbImage::from_fn(width, height, |x, y| {
                    let bright = (2 * x >= width) == (class == 1);
                    let noise = ((x * 7 + y * 13 + i * 29) % 40) as u8;
                    image::Rgb([if bright { 200 + noise } else { noise }; 3])
                });
                let extension = if i % 2 == 0 { "png" } else { "jpg" };
                pixels
                    .save(folder.join(format!("{i}.{extension}")))
                    .expect("an image");
            }
        }
    }
}

pub(crate) fn dataset(root: &Path) -> String {
    format!("folder:{}", root.display())
}

fn eval(weights: &Path, flags: &[&str]) -> Command {
    let mut command = mish(&["eval", "--weights"]);
    command.arg(weights).args(flags);
    command
}

#[test]
fn a_folder_of_images_is_trained_on_and_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, run) = (folder.path().join("tree"), folder.path().join("run"));
    tree(&root);
    let data = dataset(&root);
    let mut train = mish(&["train", "resnet20", "--img-size", "32", "--epochs", "2"]);
    train.args(["--batch-size", "8", "--scale", "0.7", "1", "--hflip", "0"]);
    train.args(["--dataset", &data, "--crop-pct", "1", "--output"]);
    train.arg(&run);
    let trained = json(train);
    assert_eq!(trained["train_images"], 24);
    assert_eq!(trained["test_images"], 10);
    let config = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    let config: toml::Table = config.parse().expect("TOML");
    assert_eq!(config["data"]["dataset"].as_str(), Some("folder"));
    assert_eq!(
        config["data"]["preprocess"]["input_size"].as_integer(),
        Some(32)
    );

    // The run folder records everything. Elsewhere the weights record the preprocessing.
    let weights = run.join("last.safetensors");
    let again = json(eval(&weights, &[]));
    assert_eq!(again["top1"], trained["final_top1"]);
    assert_eq!(again["loss"], trained["final_loss"]);
    let moved = folder.path().join("moved.safetensors");
    std::fs::copy(&weights, &moved).expect("copied");
    let again = json(eval(&moved, &["--dataset", &data]));
    assert_eq!(again["loss"], trained["final_loss"]);
    assert_eq!(again["dataset"], "folder:tree");
    let single = dataset(&root.join("val"));
    let again = json(eval(&moved, &["--dataset", &single, "--batch-size", "8"]));
    assert_eq!(
        (&again["loss"], &again["images"]),
        (&trained["final_loss"], &10.into())
    );
    for other in [
        &["--crop-pct", "0.5"][..],
        &["--interpolation", "bilinear"],
        &["--mean", "0", "0", "0"],
    ] {
        let mut command = eval(&moved, &["--dataset", &data]);
        command.args(other);
        assert_ne!(json(command)["loss"], trained["final_loss"], "{other:?}");
    }
    let error = failure(eval(&moved, &[]), 1);
    assert!(error.contains("folder:PATH"), "{error}");

    let image = root.join("val/left/0.png");
    let mut predict = mish(&["predict", "--weights"]);
    predict.arg(&moved).arg(&image);
    let answer = json(predict);
    let classes = answer[0]["classes"].as_array().expect("a list");
    assert_eq!(classes.len(), 2);
    assert!(classes.iter().any(|class| class["class"] == "left"));

    let damaged = root.join("val/right/3.jpg");
    std::fs::write(&damaged, b"not an image").expect("written");
    let error = failure(eval(&weights, &[]), 1);
    assert!(error.contains("val/right/3.jpg"), "{error}");
    assert!(error.contains("PNG, JPEG"), "{error}");
}

#[test]
fn flags_that_do_not_suit_a_folder_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("tree");
    tree(&root);
    let single = dataset(&root.join("val"));
    let train = |flags: &[&str]| {
        let mut command = mish(&["train", "resnet20", "--output"]);
        command.arg(folder.path().join("run")).args(flags);
        command
    };
    let error = failure(train(&["--dataset", &single]), 1);
    assert!(error.contains("no training images"), "{error}");
    let error = failure(train(&["--dataset", "folder:"]), 1);
    assert!(error.contains("folder:PATH"), "{error}");
    let error = failure(train(&["--dataset", "synthetic", "--img-size", "64"]), 2);
    assert!(
        error.contains("--img-size needs --dataset folder"),
        "{error}"
    );
    let data = dataset(&root);
    let error = failure(train(&["--dataset", &data, "--crop-pct", "2"]), 2);
    assert!(error.contains("--crop-pct"), "{error}");
    let error = failure(train(&["--dataset", &data, "--scale", "0.9", "0.1"]), 2);
    assert!(error.contains("scale"), "{error}");
    let error = failure(train(&["--dataset", &data, "--img-size", "224"]), 2);
    assert!(error.contains("32x32 images only"), "{error}");
    assert!(!folder.path().join("run").exists());
}

/// A run that skips a bad image, and the folder of its images.
fn run_that_skips(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let (root, run) = (folder.join("tree"), folder.join("run"));
    tree(&root);
    let cut = root.join("train/left/3.jpg");
    let whole = std::fs::read(&cut).expect("an image");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    let mut train = mish(&["train", "resnet20", "--img-size", "32", "--epochs", "1"]);
    train.args(["--batch-size", "8", "--bad-images", "skip", "--output"]);
    train.arg(&run).args(["--dataset", &dataset(&root)]);
    let (_, stderr) = success(train);
    assert!(stderr.contains("skipped 1 of 34 images"), "{stderr}");
    (root, run)
}

#[test]
fn a_run_records_the_images_that_it_skips() {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, run) = run_that_skips(folder.path());
    let config = std::fs::read_to_string(run.join("config.toml")).expect("a configuration");
    let config: toml::Table = config.parse().expect("TOML");
    let data = &config["data"];
    assert_eq!(data["bad_images"].as_str(), Some("skip"));
    let skipped = data["skipped"].as_array().expect("a list");
    assert_eq!(skipped, &[toml::Value::from("train/left/3.jpg")]);
    // The order of the images would change if another one were skipped.
    std::fs::write(root.join("train/right/1.jpg"), b"").expect("written");
    let mut resume = mish(&["train", "--epochs", "2", "--resume"]);
    resume.arg(&run);
    let error = failure(resume, 1);
    for says in ["1 of 33 images", "train/right/1.jpg (the file is empty)"] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn bad_images_end_a_command_with_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("tree");
    tree(&root);
    for file in ["train/left/1.jpg", "val/left/1.jpg", "val/right/3.jpg"] {
        std::fs::write(root.join(file), b"not an image").expect("written");
    }
    let mut train = mish(&["train", "resnet20", "--img-size", "32", "--dataset"]);
    train
        .arg(dataset(&root))
        .arg("--output")
        .arg(folder.path().join("run"));
    let error = failure(train, 1);
    for says in [
        "3 of 34 images",
        "train/left/1.jpg",
        "val/left/1.jpg",
        "val/right/3.jpg",
    ] {
        assert!(error.contains(says), "{error}");
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn flags_of_folders_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("tree");
    tree(&root);
    let map = folder.path().join("map.txt");
    std::fs::write(&map, "left,0\nright,one\n").expect("written");
    let data = dataset(&root);
    let train = |flags: &[&str]| {
        let mut command = mish(&["train", "resnet20", "--dry-run"]);
        command.args(flags);
        command
    };
    let map_path = map.display().to_string();
    let error = failure(train(&["--dataset", &data, "--class-map", &map_path]), 2);
    assert!(error.contains("line 2: label 'one'"), "{error}");
    let error = failure(train(&["--dataset", &data, "--class-map", "absent"]), 2);
    assert!(
        error.contains("'absent' for '--class-map <FILE>': No such file"),
        "{error}"
    );
    for flags in [["--class-order", "numeric"], ["--bad-images", "ignore"]] {
        let error = failure(train(&flags), 2);
        assert!(
            error.contains(flags[0]) && error.contains("expected"),
            "{error}"
        );
    }
    for flag in ["--exif-transpose", "--scale-16bit"] {
        let mut command = mish(&["train", "resnet20", "--dataset", "synthetic", "--output"]);
        command.arg(folder.path().join("run")).arg(flag);
        let error = failure(command, 2);
        assert_eq!(error, format!("error: {flag} needs --dataset folder:PATH"));
    }
    std::fs::write(&map, "right\nleft\n").expect("written");
    let flags = [
        "--class-map",
        &map_path,
        "--class-order",
        "natural",
        "--exif-transpose",
    ];
    let mut command = train(&["--dataset", &data]);
    command.args(flags);
    let (config, _) = success(command);
    let config: toml::Table = config.parse().expect("TOML");
    let data = &config["data"];
    assert_eq!(data["class_map"]["right"].as_integer(), Some(0));
    assert_eq!(data["class_order"].as_str(), Some("natural"));
    assert_eq!(data["exif_transpose"].as_bool(), Some(true));
}
