//! Bad input gives one line on stderr and an exit code, and leaves nothing on disk.

use std::path::Path;

use candle_mish::train::RunFolder;

use crate::{SMALL, assert_is_message, failure, mish, program, stderr_of, train};

/// Runs a command that must fail with `code` and a message that contains `parts`.
fn said(command: assert_cmd::Command, code: i32, parts: &[&str]) {
    let message = failure(command, code);
    for part in parts {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
}

#[test]
fn wrong_names_and_values_are_usage_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let wrong: &[(&[&str], &[&str])] = &[
        (&["--activation", "mich"], &["mich", "did you mean", "mish"]),
        (&["--dataset", "cifar1000"], &["cifar1000", "cifar100"]),
        (&["--opt", "sdg"], &["sdg", "did you mean", "sgd"]),
        (&["--sched", "cosin"], &["cosin", "cosine"]),
        (&["--lr", "fast"], &["fast", "--lr"]),
        (&["--lr", "-1"], &["--lr is -1.0", "positive"]),
        (&["--lr", "nan"], &["--lr", "'nan'"]),
        (&["--epochs", "0"], &["--epochs is 0", "1 or more"]),
        (&["--batch-size", "0"], &["--batch-size is 0", "1 or more"]),
        (&["--threads", "0"], &["--threads"]),
        (
            &["--smoothing", "2"],
            &["--smoothing is 2.0", "less than 1"],
        ),
        (
            &["--warmup-epochs", "3", "--sched", "step"],
            &["--warmup-epochs is 3"],
        ),
        (&["--limit-train", "0"], &["--limit-train"]),
        (&["--num-classes", "99"], &["--num-classes 99", "100"]),
        (&["--crop-pad-mode", "wrap"], &["wrap", "reflect"]),
        (
            &["--aa", "rnd-m9"],
            &[
                "--aa",
                "did you mean 'rand'",
                "expected one of rand, augmix",
            ],
        ),
        (
            &["--aa", "rand-m9-x3"],
            &["no parameter 'x3'", "mstd (standard deviation"],
        ),
        (
            &["--aa", "rand-m9", "--color-jitter", "0.4"],
            &["--color-jitter needs no --aa"],
        ),
        (
            &["--color-jitter-prob", "0.8"],
            &["--color-jitter-prob needs --color-jitter"],
        ),
        (&["--color-jitter", "0.4,0.4"], &["2 values", "1, 3 or 4"]),
        (&["--seed", "-3"], &["--seed"]),
        (&["--epoch", "3"], &["--epoch", "--epochs"]),
    ];
    for (flags, parts) in wrong {
        // Each flag is given once, because clap checks every value of a repeated flag.
        let mut command = mish(&["train", "resnet20", "--output"]);
        command.arg(&run);
        let small: Vec<&[&str]> = SMALL.chunks(2).filter(|pair| pair[0] != flags[0]).collect();
        command.args(small.concat()).args(*flags);
        said(command, 2, parts);
        assert!(!run.exists(), "{flags:?} left a folder");
    }
    said(
        mish(&["train", "resnet21"]),
        2,
        &["resnet21", "did you mean"],
    );
    for command in ["train", "models"] {
        said(mish(&[command, "zzz"]), 2, &["'zzz'", "mish models"]);
    }
    said(mish(&["train"]), 2, &["mish models"]);
    said(mish(&["trian"]), 2, &["trian", "train"]);
    said(program("train-resnet", &["rexnet20"]), 2, &["rexnet20"]);
    let other = program("train-resnet", &["wrn10_2", "--dry-run"]);
    said(other, 2, &["wrn10_2", "use train-wide-resnet"]);
    // The message comes from the network's forward pass.
    let small = ["models", "vgg11", "--stem", "imagenet", "--img-size", "3"];
    said(mish(&small), 1, &["max_pool2d", "the input's 1"]);
    said(mish(&["predict", "--weights", "none"]), 2, &["IMAGE"]);
}

#[test]
fn bad_recipes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("recipe.toml");
    let run = folder.path().join("run");
    for (text, part) in [
        ("learning_rate = 1", "learning_rate"),
        ("lr = ", "recipe.toml"),
        ("sched = 'zigzag'", "zigzag"),
        ("momentum = 2.0", "momentum is 2"),
    ] {
        std::fs::write(&recipe, text).expect("written");
        let mut command = train(&run, &["--recipe"]);
        command.arg(&recipe);
        said(command, 1, &[part, "recipe.toml"]);
    }
    std::fs::remove_file(&recipe).expect("removed");
    let mut command = train(&run, &["--recipe"]);
    command.arg(&recipe);
    said(command, 1, &["recipe.toml"]);
}

fn on_data(folder: &Path, run: &Path) -> assert_cmd::Command {
    let mut command = mish(&["train", "resnet20", "--dataset", "cifar100", "--data-dir"]);
    command.arg(folder).arg("--output").arg(run);
    command.arg("--cache-dir").arg(run.with_extension("cache"));
    command
}

#[test]
fn bad_data_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    said(on_data(&data, &run), 1, &["data"]);
    std::fs::create_dir(&data).expect("a folder");
    said(on_data(&data, &run), 1, &["data", "expected"]);
    let files = [
        "train-00000-of-00001.parquet",
        "test-00000-of-00001.parquet",
    ];
    for content in [
        &b""[..],
        b"PAR1",
        b"not a parquet file, in spite of its name",
    ] {
        for file in files {
            std::fs::write(data.join(file), content).expect("written");
        }
        said(on_data(&data, &run), 1, &["parquet"]);
    }
    for file in files {
        std::fs::remove_file(data.join(file)).expect("removed");
    }
    let record = [vec![3u8, 200], vec![7; 3072]].concat();
    for content in [record.repeat(4), record[..3000].to_vec(), Vec::new()] {
        for file in ["train.bin", "test.bin"] {
            std::fs::write(data.join(file), &content).expect("written");
        }
        said(on_data(&data, &run), 1, &[".bin"]);
    }
    assert!(!run.exists(), "no folder for a run that did not start");
}

#[test]
fn bad_checkpoints_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    let own = run.join("last.safetensors");
    let bytes = std::fs::read(&own).expect("weights");
    let eval = |weights: &Path, flags: &[&str]| {
        let mut command = mish(&["eval", "--weights"]);
        command
            .arg(weights)
            .args(flags)
            .args(["--dataset", "synthetic", "--limit-test", "8"]);
        command
    };
    let copy = folder.path().join("copy.safetensors");
    let damaged = |content: &[u8]| {
        std::fs::write(&copy, content).expect("written");
        eval(&copy, &[])
    };
    said(
        damaged(&bytes[..bytes.len() / 2]),
        1,
        &["copy.safetensors", "not a valid"],
    );
    said(
        damaged(&bytes[..100]),
        1,
        &["copy.safetensors", "not a valid"],
    );
    said(
        damaged(b""),
        1,
        &["copy.safetensors", "empty file", "again"],
    );
    said(damaged(b"no safetensors file"), 1, &["copy.safetensors"]);
    let mut lying = bytes.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    said(damaged(&lying), 1, &["header claims 18446744073709551615"]);
    said(
        eval(&folder.path().join("none.safetensors"), &[]),
        1,
        &["none.safetensors"],
    );
    said(eval(folder.path(), &[]), 1, &[]);

    said(eval(&own, &["--num-classes", "10"]), 1, &["10 classes"]);
    said(
        eval(&own, &["--num-classes", "101"]),
        1,
        &["101 classes", "num_classes is 100, not 101"],
    );
    let mut other = mish(&["eval", "resnet32", "--weights"]);
    other.arg(&own).args(["--dataset", "synthetic"]);
    said(other, 1, &["holds resnet20, not resnet32"]);
    // Without a header, the shapes of the tensors decide.
    let bare = candle_core::safetensors::load(&own, &candle_core::Device::Cpu).expect("weights");
    candle_core::safetensors::save(&bare, &copy).expect("saved");
    said(eval(&copy, &[]), 2, &["MODEL"]);
    let mut other = mish(&["eval", "resnet32", "--weights"]);
    other.arg(&copy).args(["--dataset", "synthetic"]);
    other.args(["--activation", "mish"]);
    said(other, 1, &["does not fit resnet32"]);
    let mut same = mish(&["eval", "resnet20", "--weights"]);
    same.arg(&copy)
        .args(["--dataset", "synthetic", "--limit-test", "8"]);
    let stderr = stderr_of(same);
    assert!(
        stderr.contains("does not record its activation"),
        "{stderr}"
    );

    // A run without a result and without a whole state.
    std::fs::remove_file(run.join("summary.json")).expect("removed");
    for state in ["state.safetensors", "state.previous.safetensors"] {
        std::fs::write(run.join(state), &bytes[..200]).expect("written");
    }
    let mut resume = mish(&["train", "--resume"]);
    resume.arg(&run);
    let parts = ["state.safetensors is damaged", "all epochs are done"];
    said(resume, 1, &parts);
    let mut resume = mish(&["train", "--resume"]);
    resume.arg(folder.path().join("nowhere"));
    said(resume, 1, &["no run to resume"]);

    // Files that are not images.
    let image = folder.path().join("image.png");
    for content in [&b""[..], b"\x89PNG\r\n\x1a\n cut off"] {
        std::fs::write(&image, content).expect("written");
        let mut predict = mish(&["predict", "--weights"]);
        predict.arg(&own).arg(&image);
        said(predict, 1, &["image.png"]);
    }
}

#[test]
fn run_folders_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "a file").expect("written");
    said(train(&file, &[]), 1, &["file"]);
    said(train(&file.join("below"), &[]), 1, &["below"]);
    said(train(Path::new("/proc/run"), &[]), 1, &["/proc/run"]);

    let run = folder.path().join("run");
    let lock = RunFolder::create(&run).expect("a folder");
    said(train(&run, &[]), 1, &["in use"]);
    drop(lock);
    train(&run, &["--epochs", "1"]).assert().success();
    let before = std::fs::read(run.join("last.safetensors")).expect("weights");
    said(train(&run, &[]), 1, &["already holds a run", "--resume"]);
    assert!(std::fs::read(run.join("last.safetensors")).expect("weights") == before);
}

#[test]
fn a_diverging_run_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = train(
        &folder.path().join("run"),
        &["--lr", "1e38", "--sched", "constant"],
    );
    let output = command.output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let message = stderr.lines().last().expect("a message");
    assert_is_message(message);
    for part in ["the loss became", "--lr", "--clip-grad"] {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
}
