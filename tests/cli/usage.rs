//! What is wrong with a command line, in one line that says what to write instead.

use crate::{failure, json, mish, stderr_of, train};

#[test]
fn a_command_without_its_subcommand_prints_the_help() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Train a network"),
        (&["study"], "run"),
        (&["bench"], "infer"),
        (&["data"], "preview"),
        (&["plot"], "hessian"),
    ];
    for (words, part) in cases {
        let output = mish(words).output().expect("started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(output.stdout.is_empty(), "{words:?}");
        for said in [*part, "Usage: mish", "--help"] {
            assert!(stderr.contains(said), "no '{said}' in: {stderr}");
        }
    }
}

#[test]
fn missing_arguments_are_named() {
    let cases: &[(&[&str], &str)] = &[
        (&["study", "report"], "study report needs DIR"),
        (&["eval"], "eval needs --weights FILE or --pretrained [TAG]"),
        (
            &["eval", "best.safetensors"],
            "eval needs --weights FILE or --pretrained [TAG]; did you mean --weights \
             best.safetensors?",
        ),
        (
            &["train", "resnet20", "--histograms", "--epochs", "3"],
            "--histograms needs --tensorboard",
        ),
    ];
    for (words, said) in cases {
        let error = failure(mish(words), 2);
        assert_eq!(error, format!("error: {said}"), "{words:?}");
    }
}

#[test]
fn unknown_options_have_no_random_tips() {
    for option in ["--wd", "--act-layer", "--workers", "--weights"] {
        let error = failure(mish(&["train", "resnet20", option, "1"]), 2);
        let said = format!("error: unexpected argument '{option}' found");
        assert_eq!(error, said);
    }
    let error = failure(mish(&["train", "resnet20", "--epoch", "3"]), 2);
    assert!(error.contains("'--epochs'"), "{error}");
    let error = failure(mish(&["train", "--grad-checkpointing", "false"]), 2);
    assert!(error.contains("--grad-checkpointing=false"), "{error}");
}

#[test]
fn values_that_are_names_are_listed() {
    let error = failure(mish(&["train", "resnet20", "--remode", "foo"]), 2);
    assert!(error.ends_with("expected const, rand or pixel"), "{error}");
    let mut export = mish(&["export", "--weights", "a", "--out", "a.onnx"]);
    export.args(["--opset", "12"]);
    let error = failure(export, 2);
    assert!(error.contains("a whole number from 13 to 25"), "{error}");
}

#[test]
fn unknown_networks_have_similar_ones() {
    for (words, said) in [
        (["train", "resnet21"], "did you mean 'resnet"),
        (["train", "densenet"], "densenet121, "),
        (
            ["models", "resnt*"],
            "no network matches 'resnt*'; `mish models` lists all",
        ),
    ] {
        let error = failure(mish(&words), 2);
        assert!(error.contains(said), "{error}");
    }
    let mut predict = mish(&["predict", "resnet50", "a.png"]);
    predict.args(["--pretrained", "timm/resnet50.tv_in1k"]);
    let error = failure(predict, 2);
    assert!(error.contains("hf://timm/resnet50.tv_in1k"), "{error}");
}

/// timm's values for "off" override a recipe.
#[test]
fn a_recipe_is_switched_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = folder.path().join("recipe.toml");
    let text = "aa = 'rand-m9'\nmixup = 0.2\nmixup_off_epoch = 3\n";
    std::fs::write(&recipe, text).expect("written");
    let dry = |flags: &[&str]| {
        let mut command = mish(&["train", "resnet20", "--dry-run", "--recipe"]);
        command.arg(&recipe).args(flags);
        json(command)["recipe"].take()
    };
    assert_eq!(dry(&[])["mixup_off_epoch"], 3);
    assert!(dry(&[])["aa"].is_string());
    let off = dry(&["--aa", "none", "--mixup-off-epoch", "0"]);
    assert!(off["aa"].is_null() && off["mixup_off_epoch"].is_null());
    let jitter = dry(&["--aa", "none", "--color-jitter", "0"]);
    assert!(jitter["color_jitter"].is_null());
}

#[test]
fn a_recipe_that_fine_tunes_needs_trained_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let error = failure(train(&run, &["--recipe", "finetune"]), 2);
    let said = "--recipe finetune needs --pretrained";
    assert!(error.contains(said) && !run.exists(), "{error}");
    train(&run, &["--epochs", "1"]).assert().success();
    // The file records its network.
    let tuned = folder.path().join("tuned");
    let mut tune = mish(&["train", "--recipe", "finetune", "--epochs", "1"]);
    tune.args(["--dataset", "synthetic", "--limit-train", "64"]);
    tune.args(["--limit-test", "20", "--batch-size", "32", "--pretrained"]);
    tune.arg(run.join("last.safetensors"));
    tune.arg("--output").arg(&tuned);
    let stderr = stderr_of(tune);
    assert!(stderr.contains("resnet20 with mish"), "{stderr}");
    let config = std::fs::read_to_string(tuned.join("config.toml")).expect("TOML");
    assert!(!config.contains("needs_pretrained"), "{config}");
    assert!(config.contains("lr = 0.02"), "{config}");
}

#[test]
fn a_dry_run_finds_what_would_fail_at_once() {
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["capsnet", "--train-img-sizes", "0:20"],
            2,
            "does not take images of 20x20",
        ),
        (
            &["resnet20", "--dataset", "synthetic", "--pad", "2"],
            1,
            "synthetic is not padded",
        ),
        (
            &["resnet20", "--dataset", "mnist", "--data-dir", "nowhere"],
            1,
            "does not exist: nowhere",
        ),
    ];
    for (flags, code, said) in cases {
        let mut command = mish(&["train", "--dry-run"]);
        command.args(*flags);
        let error = failure(command, *code);
        assert!(error.contains(said), "{error}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let printed = mish(&["train", "resnet20", "--dry-run"]).output();
    std::fs::write(&file, printed.expect("started").stdout).expect("written");
    let mut again = mish(&["train", "resnet20", "--dry-run", "--recipe"]);
    again.arg(&file);
    let error = failure(again, 1);
    assert!(error.contains("its table [recipe]"), "{error}");
}
