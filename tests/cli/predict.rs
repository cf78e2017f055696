//! `mish predict`: what it reads, and every form of its results.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use candle_core::{DType, Device};
use candle_mish::checkpoint;
use candle_mish::data::{Image, Preprocess};
use candle_mish::nn::ParamStore;
use candle_mish_models::{self as models, Model, ModelSpec};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::RowAccessor;
use serde_json::Value;

use crate::pretrained::images_of;
use crate::{assert_is_message, failure, json, mish, success};

const CLASSES: [&str; 4] = ["ape", "bee, \"wild\"", "cat", "dog"];

/// A network of four classes and its file.
pub(crate) fn network(folder: &Path) -> (PathBuf, Box<dyn Model>) {
    let spec = ModelSpec {
        num_classes: CLASSES.len(),
        ..ModelSpec::new("resnet20")
    };
    let store = ParamStore::new(DType::F32, &Device::Cpu, 5);
    let model = models::create(&spec, store.var_builder()).expect("built");
    let mut header = spec.to_metadata();
    let mut set = |key: &str, value: String| header.insert(key.to_string(), value);
    set("classes", serde_json::json!(CLASSES).to_string());
    set("image_size", "32".to_string());
    set("mean", "[0.5,0.5,0.5]".to_string());
    set("std", "[0.25,0.25,0.25]".to_string());
    let path = folder.join("weights.safetensors");
    checkpoint::write(&path, &store.tensors(), &header).expect("written");
    (path, model)
}

pub(crate) fn image(path: &Path, seed: u8) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let pixels = image::RgbImage::from_fn(40, 36, |x, y| {
        image::Rgb([x as u8 * 3 + seed, y as u8 * 5, seed.wrapping_mul(17)])
    });
    pixels.save(path).expect("saved");
}

/// The probabilities of an image, from the library.
fn probabilities(model: &dyn Model, path: &Path) -> Vec<f32> {
    let preprocess = Preprocess {
        input_size: 32,
        crop_pct: 1.0,
        mean: [0.5; 3],
        std: [0.25; 3],
        ..Preprocess::default()
    };
    let pixels = preprocess.tensor(&Image::read(path).expect("an image"));
    let logits = model.forward_t(&pixels.expect("pixels"), false);
    let logits = logits.and_then(|l| l.squeeze(0)?.to_vec1::<f32>());
    let exp: Vec<f32> = logits.expect("logits").iter().map(|l| l.exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.iter().map(|e| e / sum).collect()
}

fn predict(weights: &Path, inputs: &[&Path], flags: &[&str]) -> Command {
    let mut command = mish(&["predict", "--weights"]);
    command.arg(weights).args(inputs).args(flags);
    command
}

/// Runs a command that must fail with code 1 and returns its stdout and the lines of stderr.
fn partial(mut command: Command) -> (String, Vec<String>) {
    let output = command.output().expect("started");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let lines: Vec<String> = stderr.lines().map(str::to_owned).collect();
    assert_is_message(lines.last().expect("a message"));
    (stdout, lines)
}

/// The file names that lines of text start with.
fn names(text: &str) -> Vec<&str> {
    let name = |line: &'_ str| -> usize { line.find(": ").expect("a name") };
    let paths = text.lines().map(|line| &line[..name(line)]);
    paths
        .map(|path| path.rsplit('/').next().expect("a name"))
        .collect()
}

#[test]
fn folders_and_patterns_are_read_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let root = folder.path().join("images");
    for (seed, name) in ["b/2.png", "b/10.PNG", "a.png", "b/c/3.png", "z.png"]
        .into_iter()
        .enumerate()
    {
        image(&root.join(name.to_lowercase()), seed as u8);
        std::fs::rename(root.join(name.to_lowercase()), root.join(name)).expect("renamed");
    }
    for name in [".hidden.png", "b/._2.png", "b/.cache/4.png", "b/notes.txt"] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, b"no image").expect("written");
    }
    let read = |inputs: &[&str], flags: &[&str]| {
        let inputs: Vec<PathBuf> = inputs.iter().map(|input| root.join(input)).collect();
        let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
        success(predict(&weights, &inputs, flags)).0
    };
    let whole = read(&[""], &[]);
    assert_eq!(
        names(&whole),
        ["a.png", "z.png", "10.PNG", "2.png", "3.png"]
    );
    assert_eq!(
        names(&read(&["z.png", "b"], &[])),
        ["z.png", "10.PNG", "2.png", "3.png"]
    );
    assert_eq!(names(&read(&["*.png"], &[])), ["a.png", "z.png"]);
    assert_eq!(names(&read(&["**/[23].png"], &[])), ["2.png", "3.png"]);
    // Files that are no images are left out and counted.
    let output = predict(&weights, &[&root], &[]).output().expect("started");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(
        stderr.contains("skipped 1 file") && stderr.contains("1 .txt"),
        "{stderr}"
    );
    // Neither batches nor threads change the order.
    for flags in [
        ["--batch-size", "1"],
        ["--batch-size", "2"],
        ["--threads", "1"],
    ] {
        assert_eq!(names(&read(&[""], &flags)), names(&whole));
    }
    // Images in memory and files mix.
    let tensor = folder.path().join("input.safetensors");
    images_of(&tensor, 3, 32);
    let image = root.join("a.png");
    let mixed = success(predict(
        &weights,
        &[&image, &tensor, &image],
        &["--batch-size", "1"],
    ))
    .0;
    let want = [
        "a.png",
        "input.safetensors[0]",
        "input.safetensors[1]",
        "a.png",
    ];
    assert_eq!(names(&mixed), want);
    let none = |input: &str, says: &str| {
        let error = failure(predict(&weights, &[&root.join(input)], &[]), 1);
        assert!(error.contains(says), "{error}");
    };
    none("*.gif", "no file matches");
    std::fs::create_dir(root.join("empty")).expect("made");
    none("empty", "has no image files");
    none("none.png", "cannot read");
}

#[test]
fn a_bad_image_is_reported_and_the_others_are_classified() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let root = folder.path().join("images");
    for i in 0..5 {
        image(&root.join(format!("{i}.png")), i);
    }
    let bytes = std::fs::read(root.join("2.png")).expect("an image");
    std::fs::write(root.join("2.png"), &bytes[..bytes.len() / 2]).expect("cut");
    std::fs::write(root.join("3.png"), b"not an image").expect("written");
    let missing = root.join("9.png");
    for batch in ["1", "2", "32"] {
        let inputs = [&*root, &missing];
        let (stdout, lines) = partial(predict(&weights, &inputs, &["--batch-size", batch]));
        assert_eq!(names(&stdout), ["0.png", "1.png", "4.png"]);
        assert_eq!(lines.len(), 4, "{lines:?}");
        for (line, name) in lines.iter().zip(["2.png", "3.png", "9.png"]) {
            assert!(line.contains(name), "{line}");
        }
        assert!(lines[3].contains("3 files could not be read"), "{lines:?}");
    }
    // So are a folder without images and a pattern without a match.
    let (empty, pattern) = (folder.path().join("empty"), root.join("*.gif"));
    let whole = root.join("0.png");
    std::fs::create_dir(&empty).expect("made");
    let inputs = [&*empty, &*pattern, &*whole];
    let (stdout, lines) = partial(predict(&weights, &inputs, &[]));
    assert_eq!(names(&stdout), ["0.png"]);
    for (line, said) in lines.iter().zip(["no image files", "no file matches"]) {
        assert!(line.contains(said), "{line}");
    }
    assert!(lines[2].contains("2 inputs could not be read"), "{lines:?}");
    let (_, lines) = partial(predict(&weights, &inputs[..2], &[]));
    assert!(lines[2].contains("2 inputs could not be read"), "{lines:?}");
    // The file holds the results of the others.
    let out = folder.path().join("out.jsonl");
    let mut command = predict(&weights, &[&root], &["--output"]);
    command.arg(&out);
    let (stdout, _) = partial(command);
    assert_eq!(stdout, "");
    let written = std::fs::read_to_string(&out).expect("written");
    assert_eq!(written.lines().count(), 3);
    let (stdout, _) = partial(predict(&weights, &[&root], &["--json"]));
    let array: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(array.as_array().map(Vec::len), Some(3));
    // Without any result there is no file.
    std::fs::remove_file(&out).expect("removed");
    let (first, second) = (root.join("2.png"), root.join("3.png"));
    let mut command = predict(&weights, &[&first, &second], &["--output"]);
    command.arg(&out);
    partial(command);
    let mut command = predict(&weights, &[&first], &["--output"]);
    let error = failure(
        {
            command.arg(&out);
            command
        },
        1,
    );
    assert!(error.contains("2.png"), "{error}");
    assert!(!out.exists());
}

/// A row of a table: image, rank, label, class, probability.
type Row = (String, i64, i64, String, f64);

fn rows_of(answers: &Value) -> Vec<Row> {
    let answers = answers.as_array().expect("an array").iter();
    let rows = answers.flat_map(|answer| {
        let image = answer["image"].as_str().expect("a name").to_owned();
        let classes = answer["classes"].as_array().expect("classes").iter();
        (1..).zip(classes).map(move |(rank, class)| {
            (
                image.clone(),
                rank,
                class["label"].as_i64().expect("a label"),
                class["class"].as_str().expect("a name").to_owned(),
                class["probability"].as_f64().expect("a number"),
            )
        })
    });
    rows.collect()
}

/// Rows of CSV with quotes, split by the rules of RFC 4180.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    assert!(field.is_empty() && row.is_empty() && !quoted, "{text}");
    rows
}

#[test]
fn every_format_holds_the_same_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, model) = network(folder.path());
    let root = folder.path().join("images");
    for (seed, name) in ["a.png", "b, \"c\".png", "d.png"].into_iter().enumerate() {
        image(&root.join(name), 40 * seed as u8);
    }
    let flags = ["--topk", "3", "--batch-size", "2"];
    let answers = json(predict(&weights, &[&root], &flags));
    let want = rows_of(&answers);
    assert_eq!(want.len(), 9);
    for rows in want.chunks(3) {
        let expected = probabilities(&*model, Path::new(&rows[0].0));
        let mut labels: Vec<usize> = (0..4).collect();
        labels.sort_by(|a, b| expected[*b].total_cmp(&expected[*a]));
        for ((_, _, label, class, probability), expected_label) in rows.iter().zip(labels) {
            assert_eq!(*label, expected_label as i64);
            assert_eq!(class, CLASSES[expected_label]);
            let expected = f64::from(expected[expected_label]);
            assert!(
                (probability - expected).abs() < 1e-5,
                "{probability} {expected}"
            );
        }
    }
    let alias = json(predict(&weights, &[&root], &["--top", "3"]));
    assert_eq!(rows_of(&alias).len(), 9);
    let file = |name: &str, flags: &[&str]| {
        let out = folder.path().join(name);
        let mut command = predict(&weights, &[&root], &["--topk", "3", "--output"]);
        command.arg(&out).args(flags);
        let (stdout, stderr) = success(command);
        assert_eq!((&*stdout, &*stderr), ("", ""));
        out
    };
    let text =
        |name: &str, flags: &[&str]| std::fs::read_to_string(file(name, flags)).expect("written");

    let csv = csv_rows(&text("out.csv", &[]));
    assert_eq!(csv[0], ["image", "rank", "label", "class", "probability"]);
    let csv: Vec<Row> = csv[1..]
        .iter()
        .map(|row| {
            let number = |i: usize| row[i].parse::<i64>().expect("a number");
            let probability: f64 = row[4].parse().expect("a number");
            (
                row[0].clone(),
                number(1),
                number(2),
                row[3].clone(),
                probability,
            )
        })
        .collect();
    assert_rows(&csv, &want);
    assert_eq!(text("out", &["--format", "csv"]).lines().count(), 10);

    let lines = text("out.jsonl", &[]);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    assert_rows(&rows_of(&Value::Array(lines.collect())), &want);
    let array = serde_json::from_str(&text("out.json", &[])).expect("JSON");
    assert_rows(&rows_of(&array), &want);
    assert_eq!(text("out.txt", &[]).lines().count(), 3);

    let reader = std::fs::File::open(file("out.parquet", &[])).expect("written");
    let reader = SerializedFileReader::new(reader).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows").map(|row| {
        let row = row.expect("a row");
        (
            row.get_string(0).expect("image").clone(),
            row.get_int(1).expect("rank").into(),
            row.get_int(2).expect("label").into(),
            row.get_string(3).expect("class").clone(),
            row.get_float(4).expect("probability").into(),
        )
    });
    assert_rows(&rows.collect::<Vec<Row>>(), &want);
}

/// Compares rows. Batches of other sizes may round differently.
fn assert_rows(got: &[Row], want: &[Row]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        let key = |row: &Row| (row.0.clone(), row.1, row.2, row.3.clone());
        assert_eq!(key(got), key(want));
        assert!((got.4 - want.4).abs() < 1e-6, "{got:?} {want:?}");
    }
}

#[test]
fn logits_and_classes_do_not_depend_on_the_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let root = folder.path().join("images");
    for i in 0..5 {
        image(&root.join(format!("{i}.png")), 30 * i);
    }
    let logits = |batch: &str| -> Value {
        let out = folder.path().join("logits.json");
        let mut command = predict(&weights, &[&root], &["--batch-size", batch, "--logits"]);
        command.arg(&out).assert().success();
        serde_json::from_str(&std::fs::read_to_string(&out).expect("written")).expect("JSON")
    };
    let (one, all) = (logits("1"), logits("5"));
    assert_eq!(one["images"], all["images"]);
    assert_eq!(one["images"].as_array().map(Vec::len), Some(5));
    let rows = |value: &Value| -> Vec<Vec<f64>> {
        serde_json::from_value(value["logits"].clone()).expect("rows")
    };
    for (one, all) in rows(&one).iter().flatten().zip(rows(&all).iter().flatten()) {
        assert!((one - all).abs() < 1e-4 * all.abs().max(1.0), "{one} {all}");
    }
}

#[test]
fn a_class_map_names_the_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let path = folder.path().join("a.png");
    image(&path, 1);
    let map = folder.path().join("names.txt");
    std::fs::write(&map, "one\ntwo\nthree\nfour\n").expect("written");
    let flags = ["--class-map", map.to_str().expect("text")];
    let answer = json(predict(&weights, &[&path], &flags));
    let own = json(predict(&weights, &[&path], &[]));
    for (mapped, own) in rows_of(&answer).into_iter().zip(rows_of(&own)) {
        assert_eq!((mapped.1, mapped.2), (own.1, own.2));
        assert_eq!(mapped.3, ["one", "two", "three", "four"][mapped.2 as usize]);
        assert_eq!(own.3, CLASSES[own.2 as usize]);
    }
    std::fs::write(&map, "one\n").expect("written");
    let (text, stderr) = success(predict(&weights, &[&path], &flags));
    assert!(stderr.contains("names 1 of the network's 4"), "{stderr}");
    assert!(text.contains("one (") && text.contains(" %), class "));
    std::fs::write(&map, "1\n2\n3\n4\n5\n").expect("written");
    let error = failure(predict(&weights, &[&path], &flags), 1);
    assert!(
        error.contains("has 4 classes, --class-map has 5"),
        "{error}"
    );
    let none = failure(predict(&weights, &[&path], &["--class-map", "none.txt"]), 2);
    assert!(none.contains("--class-map"), "{none}");
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let path = folder.path().join("a.png");
    image(&path, 1);
    for (flags, says) in [
        (
            &["--output", "x.xml"][..],
            "the extension must be .txt, .csv",
        ),
        (&["--format", "parquet"], "--format parquet needs --output"),
        (
            &["--json", "--format", "csv"],
            "--json contradicts --format",
        ),
        (&["--json", "--output", "x.csv"], "--json contradicts"),
        (&["--logits", "x.json", "--output", "x.csv"], "--logits"),
        (&["--topk", "0"], "--topk"),
        (&["--batch-size", "0"], "--batch-size"),
    ] {
        let error = failure(predict(&weights, &[&path], flags), 2);
        assert!(error.contains(says), "{error}");
    }
    let error = failure(
        predict(&weights, &[&path], &["--output", "no/such/x.csv"]),
        1,
    );
    assert!(error.contains("--output no/such/x.csv"), "{error}");
}

/// A 16-bit grey image, which is white above 255 in Pillow.
#[test]
fn images_are_decoded_as_the_flags_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let grey = folder.path().join("grey.png");
    let pixels =
        image::ImageBuffer::from_fn(32, 32, |x, y| image::Luma([(x * 2000 + y * 20) as u16]));
    pixels.save(&grey).expect("saved");
    let plain = json(predict(&weights, &[&grey], &[]));
    let scaled = json(predict(&weights, &[&grey], &["--scale-16bit"]));
    assert_ne!(plain, scaled);
    let upper = folder.path().join("upper.png");
    let pixels = image::ImageBuffer::from_fn(32, 32, |x, y| {
        image::Luma([((x * 2000 + y * 20) >> 8) as u8])
    });
    pixels.save(&upper).expect("saved");
    let eight = json(predict(&weights, &[&upper], &[]));
    assert_eq!(scaled[0]["classes"], eight[0]["classes"]);
}

#[test]
fn test_time_augmentation_averages_an_image_and_its_mirror_image() {
    let folder = tempfile::tempdir().expect("a folder");
    let (weights, _) = network(folder.path());
    let (original, mirrored) = (folder.path().join("a.png"), folder.path().join("b.png"));
    image(&original, 50);
    // Of the network's size, so that no crop is off the middle.
    let pixels = image::open(&original)
        .expect("an image")
        .crop_imm(0, 0, 32, 32);
    pixels.save(&original).expect("saved");
    pixels.fliph().save(&mirrored).expect("saved");
    let logits = |flags: &[&str]| -> Vec<Vec<f32>> {
        let out = folder.path().join("logits.json");
        let mut command = predict(&weights, &[&original, &mirrored], flags);
        command.arg("--logits").arg(&out);
        success(command);
        let text = std::fs::read_to_string(&out).expect("written");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        serde_json::from_value(answer["logits"].clone()).expect("rows")
    };
    let (plain, averaged) = (logits(&[]), logits(&["--tta"]));
    assert_ne!(plain[0], plain[1]);
    let mean = |(a, b): (&f32, &f32)| (a + b) / 2.0;
    let mean: Vec<f32> = plain[0].iter().zip(&plain[1]).map(mean).collect();
    assert_eq!(averaged, [mean.clone(), mean]);
}
