//! Mixed, erased and resized training images: the flags, the preview and the benchmark.

use std::path::Path;

use candle_mish::data::Image;
use serde_json::Value;

use crate::{failure, folder, json, mish, mnist, success, train};

/// Everything at once.
const EVERYTHING: &[&str] = &[
    "--mixup",
    "0.2",
    "--cutmix",
    "1",
    "--mixup-prob",
    "0.9",
    "--mixup-mode",
    "elem",
    "--mixup-off-epoch",
    "1",
    "--smoothing",
    "0.1",
    "--reprob",
    "0.5",
    "--recount",
    "2",
    "--cutout",
    "6",
    "--input-noise",
    "0.5",
    "--flip-mode",
    "alternating",
    "--aug-repeats",
    "2",
    "--train-img-sizes",
    "0:16,1:32",
    "--limit-train",
    "32",
    "--limit-test",
    "10",
    "--batch-size",
    "16",
];

#[test]
fn a_run_with_everything_is_recorded_and_repeats() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let summary = json(train(&first, EVERYTHING));
    assert_eq!(summary["epochs"], 2);
    train(&second, EVERYTHING).assert().success();
    let weights = |run: &Path| std::fs::read(run.join("last.safetensors")).expect("weights");
    assert!(weights(&first) == weights(&second));
    let config = std::fs::read_to_string(first.join("config.toml")).expect("a configuration");
    let config: toml::Table = config.parse().expect("TOML");
    let recipe = &config["recipe"];
    assert_eq!(recipe["mixup"].as_float(), Some(0.2));
    assert_eq!(recipe["mixup_mode"].as_str(), Some("elem"));
    assert_eq!(recipe["mixup_off_epoch"].as_integer(), Some(1));
    assert_eq!(recipe["train_img_sizes"].as_str(), Some("0:16,1:32"));
    assert_eq!(recipe["flip_mode"].as_str(), Some("alternating"));
    // The defaults of what is on are recorded too.
    assert_eq!(recipe["mixup_switch_prob"].as_float(), Some(0.5));
    assert_eq!(recipe["remode"].as_str(), Some("pixel"));
    // A finished run is resumed with the same flags, not with others.
    let resume = |flags: &[&str]| {
        let mut command = mish(&["train", "--resume"]);
        command.arg(&first).args(flags);
        command
    };
    success(resume(EVERYTHING));
    let message = failure(resume(&["--mixup", "0.3"]), 2);
    assert!(message.contains("mixup = 0.2"), "{message}");
}

/// What a run without these flags records: none of the options that only refine them.
#[test]
fn a_plain_configuration_has_no_refinements() {
    let (text, _) = success(mish(&["train", "resnet20", "--dry-run"]));
    let config: toml::Table = text.parse().expect("TOML");
    let recipe = config["recipe"].as_table().expect("a table");
    for (key, off) in [("mixup", 0.0), ("cutmix", 0.0), ("reprob", 0.0)] {
        assert_eq!(recipe[key].as_float(), Some(off), "{key}");
    }
    for key in [
        "mixup_prob",
        "mixup_mode",
        "remode",
        "recount",
        "train_img_sizes",
    ] {
        assert!(!recipe.contains_key(key), "{key}");
    }
}

#[test]
fn flags_without_effect_and_contradictions_are_refused() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["--mixup-mode", "pair"],
            "--mixup-mode needs --mixup or --cutmix",
        ),
        (
            &["--mixup-prob", "0.5"],
            "--mixup-prob needs --mixup or --cutmix",
        ),
        (
            &["--mixup-off-epoch", "5"],
            "--mixup-off-epoch needs --mixup or --cutmix",
        ),
        (
            &["--mixup", "0.2", "--mixup-switch-prob", "0.5"],
            "--mixup-switch-prob needs both --mixup and --cutmix",
        ),
        (&["--remode", "const"], "--remode needs --reprob"),
        (&["--recount", "2"], "--recount needs --reprob"),
        (
            &["--flip-mode", "alternating", "--hflip", "0"],
            "--flip-mode alternating needs --hflip 0.5",
        ),
        (
            &["--mixup", "0.2", "--loss", "margin"],
            "--mixup needs the loss cross_entropy",
        ),
        (
            &["--cutmix-minmax", "0.2", "0.8", "--loss", "margin"],
            "--cutmix needs the loss cross_entropy",
        ),
        (&["--cutmix-minmax", "0.8", "0.2"], "the smaller one first"),
        (&["--mixup", "0.0001"], "between 0.001 and 1000"),
    ];
    for (flags, said) in cases {
        let mut command = mish(&["train", "resnet20", "--dry-run"]);
        command.args(*flags);
        let message = failure(command, 2);
        assert!(message.contains(said), "{flags:?}: {message}");
    }
    for (flag, value, said) in [
        ("--mixup-mode", "half", "expected batch, pair or elem"),
        ("--remode", "noise", "expected const, rand or pixel"),
        ("--flip-mode", "both", "expected random or alternating"),
        ("--train-img-sizes", "20,32", "0:20,4:28,8:32"),
        ("--train-img-sizes", "1:20", "the first one 0"),
        ("--train-img-sizes", "0:20,0:32", "ascending"),
    ] {
        let message = failure(mish(&["train", "resnet20", flag, value]), 2);
        assert!(
            message.contains(flag) && message.contains(said),
            "{message}"
        );
    }
}

/// Networks whose weights depend on the image size say so before they train.
#[test]
fn sizes_that_a_network_does_not_take_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |model: &str, sizes: &str| {
        let mut command = mish(&["train", model, "--dataset", "synthetic"]);
        command.args(["--limit-train", "40", "--limit-test", "10", "--epochs", "1"]);
        command.args(["--train-img-sizes", sizes, "--output"]);
        let run = folder.path().join(model);
        command.arg(&run);
        let message = failure(command, 2);
        assert!(!run.exists(), "{message}");
        message
    };
    for model in ["capsnet", "mlp_2x8"] {
        let message = refused(model, "0:32,1:20");
        let said = format!("--train-img-sizes 0:32,1:20: {model} does not take images of 20x20");
        assert!(message.contains(&said), "{message}");
    }
    let message = refused("resnet20", "0:16000");
    assert!(message.contains("must not exceed 8 GiB"), "{message}");
}

/// The sheet of a preview, and what it prints as JSON.
fn preview(folder: &Path, flags: &[&str]) -> (Image, Value) {
    let path = folder.join("sheet.png");
    let mut command = mish(&["data", "preview", "--output"]);
    command.arg(&path).args(flags);
    let printed = json(command);
    (Image::read(&path).expect("a PNG"), printed)
}

const SYNTHETIC: &[&str] = &[
    "--dataset",
    "synthetic",
    "--limit-train",
    "40",
    "--limit-test",
    "10",
];

#[test]
fn a_preview_shows_a_batch_and_its_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = |more: &[&'static str]| [SYNTHETIC, more].concat();
    let small = ["--batch-size", "20", "--images", "10", "--columns", "4"];
    let (sheet, printed) = preview(folder.path(), &flags(&small));
    // Three rows of four images of 32 pixels with gaps of 2, three times as large.
    assert_eq!(
        (sheet.height(), sheet.width()),
        (3 * (3 * 34 + 2), 3 * (4 * 34 + 2))
    );
    assert_eq!(printed["batch_size"], 20);
    assert_eq!(printed["image_size"], serde_json::json!([32, 32]));
    let images = printed["images"].as_array().expect("images");
    assert_eq!(images.len(), 10);
    assert_eq!(
        (images[9]["row"].clone(), images[9]["column"].clone()),
        (3.into(), 2.into())
    );
    for image in images {
        let labels = image["labels"].as_array().expect("labels");
        assert_eq!(labels.len(), 1);
        assert_eq!(labels[0]["share"], 1.0);
        assert!(
            labels[0]["name"]
                .as_str()
                .is_some_and(|name| name.contains('_'))
        );
    }
    // The same flags give the same sheet, another epoch does not.
    let mixed = [
        &small[..],
        &["--mixup", "0.4", "--epochs", "3", "--epoch", "2"],
    ]
    .concat();
    let (one, printed) = preview(folder.path(), &flags(&mixed));
    let (same, _) = preview(folder.path(), &flags(&mixed));
    assert!(one == same && one != sheet);
    let shares = |image: &Value| -> Vec<f64> {
        let labels = image["labels"].as_array().expect("labels").iter();
        labels.filter_map(|label| label["share"].as_f64()).collect()
    };
    let images = printed["images"].as_array().expect("images");
    let mixed: Vec<Vec<f64>> = images.iter().map(shares).collect();
    assert!(mixed.iter().any(|shares| shares.len() == 2), "{mixed:?}");
    for shares in mixed {
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert!(shares.is_sorted_by(|one, other| one >= other));
    }
    let smaller = [
        "--train-img-sizes",
        "0:20",
        "--cutout",
        "8",
        "--reprob",
        "1",
    ];
    let (sheet, printed) = preview(folder.path(), &flags(&smaller));
    assert_eq!(printed["image_size"], serde_json::json!([20, 20]));
    assert_eq!(sheet.width(), 4 * (8 * 22 + 2));

    let mut command = mish(&["data", "preview", "--mixup", "1", "--output"]);
    command.arg(folder.path().join("sheet.png")).args(SYNTHETIC);
    let (text, _) = success(command);
    assert!(
        text.contains("32 of 40 images of a training batch of synthetic"),
        "{text}"
    );
    assert!(text.contains(" % + "), "{text}");
}

#[test]
fn previews_take_grey_images_and_folders() {
    let place = tempfile::tempdir().expect("a folder");
    let data = place.path().join("mnist");
    std::fs::create_dir(&data).expect("a folder");
    mnist::write(&data);
    let data = data.to_str().expect("text");
    let grey = ["--dataset", "mnist", "--data-dir", data, "--columns", "12"];
    let (sheet, printed) = preview(place.path(), &grey);
    assert_eq!(sheet.width(), 3 * (12 * 34 + 2));
    assert_eq!(printed["batch_size"], 12);
    // The channels are equal.
    let (red, rest) = sheet.pixels().split_at(sheet.height() * sheet.width());
    assert_eq!(red, &rest[..red.len()]);
    let tree = place.path().join("tree");
    folder::tree(&tree);
    let tree = folder::dataset(&tree);
    let flags = [
        "--dataset",
        &tree,
        "--img-size",
        "40",
        "--columns",
        "5",
        "--images",
        "5",
    ];
    let (sheet, printed) = preview(place.path(), &flags);
    assert_eq!((sheet.height(), sheet.width()), (2 * 44, 2 * (5 * 42 + 2)));
    let name = printed["images"][0]["labels"][0]["name"].as_str();
    assert!(name == Some("left") || name == Some("right"), "{printed}");
    let sized = [&flags[..], &["--train-img-sizes", "0:24"]].concat();
    let (_, printed) = preview(place.path(), &sized);
    assert_eq!(printed["image_size"], serde_json::json!([24, 24]));
}

#[test]
fn previews_that_cannot_be_made_say_why() {
    let refused = |flags: &[&str], code| {
        let mut command = mish(&["data", "preview"]);
        command.args(SYNTHETIC).args(flags);
        failure(command, code)
    };
    let message = refused(&["--epochs", "3", "--epoch", "4"], 2);
    assert!(
        message.contains("--epoch 4: the recipe has 3 epochs"),
        "{message}"
    );
    let message = refused(&["--img-size", "40"], 2);
    assert!(
        message.contains("--img-size needs --dataset folder:PATH"),
        "{message}"
    );
    let message = refused(&["--mixup-mode", "elem"], 2);
    assert!(message.contains("--mixup-mode needs"), "{message}");
    let message = refused(&["--output", "/nowhere/sheet.png"], 1);
    assert!(
        message.contains("cannot write --output /nowhere/sheet.png"),
        "{message}"
    );
    let message = refused(&["resnet21"], 2);
    assert!(message.contains("did you mean"), "{message}");
}

#[test]
fn the_loader_is_measured() {
    let mut command = mish(&["bench", "data", "--steps", "3", "--threads", "2"]);
    command
        .args(SYNTHETIC)
        .args(["--batch-size", "16", "--mixup", "0.2", "--reprob", "0.5"]);
    let answer = json(command);
    assert_eq!(answer["name"], "data_synthetic");
    assert_eq!(answer["batch_size"], 16);
    assert_eq!(answer["threads"], 2);
    let number = |field: &str| answer[field].as_f64().expect("a number");
    assert!(number("min_ms") <= number("median_ms") && number("median_ms") <= number("max_ms"));
    assert!(number("images_per_second") > 0.0);
}
