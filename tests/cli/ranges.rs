//! Every number in a flag has a range. A bad one is a usage error in one line that names the flag,
//! before anything is read, computed or allocated.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_mish::checkpoint;

use crate::{failure, mish, train};

/// Values that no count accepts.
const COUNTS: &[&str] = &[
    "-1",
    "1.5",
    "nan",
    "inf",
    "two",
    "",
    "10000000001",
    "99999999999999999999",
];
/// Values that no seed accepts.
const SEEDS: &[&str] = &["-1", "1.5", "nan", "two", "", "9223372036854775808"];
/// Values that no number accepts.
const NUMBERS: &[&str] = &["nan", "inf", "1e999", "two", ""];

/// The kind of number that a flag accepts, and the limits of its range.
enum Takes {
    /// Whole numbers of one or more.
    Positive,
    /// Whole numbers.
    Count,
    /// A seed.
    Seed,
    /// A number, except these.
    Number(&'static [&'static str]),
    /// Several numbers, except these.
    Numbers(usize, &'static [&'static str]),
}

use Takes::{Count, Number, Numbers, Positive, Seed};

const RATE: Takes = Number(&["0", "-1", "1e39"]);
const SHARE: Takes = Number(&["-0.1", "1"]);
const PROBABILITY: Takes = Number(&["-0.1", "1.1"]);
const BEND: Takes = Number(&["0", "-1", "0.001", "101"]);
const EPOCHS: Takes = Number(&["-1", "1e7"]);

const DATA: &[(&str, Takes)] = &[
    ("--data-seed", Seed),
    ("--val-split", SHARE),
    ("--synthetic-difficulty", PROBABILITY),
    ("--limit-train", Positive),
    ("--limit-test", Positive),
    ("--img-size", Positive),
    ("--crop-pct", Number(&["0", "-1", "1.1"])),
    ("--mean", Numbers(3, &[])),
    ("--std", Numbers(3, &["0", "-1"])),
    ("--threads", Positive),
];

const TRAIN: &[(&str, Takes)] = &[
    ("--num-classes", Positive),
    ("--in-chans", Positive),
    ("--drop", SHARE),
    ("--drop-path", SHARE),
    ("--epochs", Positive),
    ("--batch-size", Positive),
    ("--grad-accum-steps", Positive),
    ("--seed", Seed),
    ("--lr", RATE),
    ("--momentum", SHARE),
    ("--weight-decay", Number(&["-1", "1e39"])),
    ("--l1-penalty", Number(&["-1", "1e39"])),
    ("--l2-penalty", Number(&["-1", "1e39"])),
    ("--fallback-lr-scale", RATE),
    ("--fallback-momentum", SHARE),
    ("--ns-steps", Positive),
    ("--opt-betas", Numbers(2, &["-0.1", "1"])),
    ("--opt-eps", Number(&["-1"])),
    ("--opt-alpha", SHARE),
    ("--warmup-epochs", EPOCHS),
    ("--warmup-lr", Number(&["-1"])),
    ("--cooldown-epochs", EPOCHS),
    ("--min-lr", Number(&["-1"])),
    ("--lr-cycle-limit", Positive),
    ("--lr-cycle-mul", BEND),
    ("--lr-cycle-decay", Number(&["0", "1.1"])),
    ("--lr-k-decay", BEND),
    ("--poly-power", BEND),
    ("--tanh-lb", Number(&["-101", "101"])),
    ("--tanh-ub", Number(&["-101", "101"])),
    ("--pct-start", PROBABILITY),
    ("--div-factor", RATE),
    ("--final-div-factor", RATE),
    ("--base-momentum", SHARE),
    ("--max-momentum", SHARE),
    ("--patience-epochs", Count),
    ("--early-stop-patience", Positive),
    ("--early-stop-min-delta", Number(&["-1"])),
    (
        "--decay-epochs",
        Number(&["0", "-1", "1e-9", "1e-300", "1e7"]),
    ),
    ("--decay-milestones", EPOCHS),
    ("--decay-rate", RATE),
    ("--smoothing", SHARE),
    ("--clip-grad", RATE),
    ("--crop-padding", Count),
    ("--hflip", PROBABILITY),
    ("--scale", Numbers(2, &["0", "-1", "1.1"])),
    ("--mixup", Number(&["-1", "1001"])),
    ("--cutmix", Number(&["-1", "1001"])),
    ("--cutmix-minmax", Numbers(2, &["0", "-1", "1.1"])),
    ("--mixup-prob", PROBABILITY),
    ("--mixup-switch-prob", PROBABILITY),
    ("--mixup-off-epoch", Count),
    ("--reprob", PROBABILITY),
    ("--recount", Positive),
    ("--cutout", Count),
    ("--input-noise", Number(&["-1", "1001"])),
    ("--aug-repeats", Count),
    ("--ratio", Numbers(2, &["0", "-1"])),
    ("--vflip", PROBABILITY),
    ("--degrees", Number(&["-1", "181"])),
    ("--color-jitter", Number(&["-1", "1001", "0,0,0"])),
    ("--color-jitter-prob", PROBABILITY),
    ("--grayscale-prob", PROBABILITY),
    ("--gaussian-blur-prob", PROBABILITY),
    ("--layer-decay", Number(&["0", "-1", "1.1"])),
    ("--head-warmup-epochs", EPOCHS),
];

const EVAL: &[(&str, Takes)] = &[
    ("--num-classes", Positive),
    ("--in-chans", Positive),
    ("--batch-size", Positive),
];

const SWAP: &[(&str, Takes)] = &[
    ("--num-classes", Positive),
    ("--in-chans", Positive),
    ("--batch-size", Positive),
    ("--seed", Seed),
    ("--recalibrate", Count),
    ("--fine-tune-epochs", Number(&["0", "-1", "1e7"])),
    ("--fine-tune-steps", Positive),
    ("--lr", RATE),
    ("--per-layer", Count),
    ("--robustness", Count),
    ("--noise", PROBABILITY),
    ("--fgsm", PROBABILITY),
];

const PREDICT: &[(&str, Takes)] = &[
    ("--num-classes", Positive),
    ("--in-chans", Positive),
    ("--topk", Positive),
    ("--batch-size", Positive),
    ("--img-size", Positive),
    ("--crop-pct", Number(&["0", "1.1"])),
    ("--mean", Numbers(3, &[])),
    ("--std", Numbers(3, &["0"])),
];

const SIZES: &[(&str, Takes)] = &[
    ("--num-classes", Positive),
    ("--img-size", Positive),
    ("--threads", Positive),
];

/// Checks that `command` refuses every bad value of every flag.
fn refuses(command: &[&str], flags: &[(&str, Takes)]) {
    for (flag, takes) in flags {
        let (usual, special, count) = match takes {
            Positive => (COUNTS, &["0"][..], 1),
            Count => (COUNTS, &[][..], 1),
            Seed => (SEEDS, &[][..], 1),
            Number(outside) => (NUMBERS, *outside, 1),
            Numbers(count, outside) => (NUMBERS, *outside, *count),
        };
        for value in usual.iter().chain(special) {
            let mut bad = mish(command);
            if count == 1 {
                bad.arg(format!("{flag}={value}"));
            } else {
                bad.arg(flag).args(vec![*value; count]);
            }
            let message = failure(bad, 2);
            assert!(message.contains(flag), "{flag} {value}: {message}");
        }
    }
}

const WEIGHTS: [&str; 2] = ["--weights", "none.safetensors"];

#[test]
fn training_refuses_numbers_out_of_range() {
    for command in [&["train", "resnet20"][..], &["train", "--resume", "none"]] {
        refuses(command, TRAIN);
        refuses(command, DATA);
    }
}

#[test]
fn other_commands_refuse_numbers_out_of_range() {
    let eval = [&["eval"][..], &WEIGHTS].concat();
    refuses(&eval, EVAL);
    refuses(&eval, DATA);
    let swap = [&["swap", "--to", "relu"][..], &WEIGHTS].concat();
    refuses(&swap, SWAP);
    refuses(&swap, DATA);
    refuses(&[&["predict", "image.png"][..], &WEIGHTS].concat(), PREDICT);
    refuses(
        &[&["export", "--out", "x.onnx"][..], &WEIGHTS].concat(),
        SIZES,
    );
    refuses(&["models", "resnet20"], SIZES);
    let steps = [("--batch-size", Positive), ("--steps", Positive)];
    refuses(&["bench", "train"], &steps);
    refuses(&["bench", "infer"], &steps);
    refuses(&["bench", "ops"], &[("--rounds", Positive)]);
    refuses(&["bench", "data"], &[("--steps", Positive)]);
    let preview = [
        ("--epoch", Positive),
        ("--images", Positive),
        ("--columns", Positive),
    ];
    refuses(&["data", "preview"], &preview);
    let shape = [("--rounds", Positive), ("--shape", Count)];
    refuses(&["bench", "mish"], &shape);
    refuses(&["activations"], &[("--threads", Positive)]);
}

/// Numbers that are in range, but not together.
#[test]
fn batches_that_no_memory_holds_are_refused() {
    let bench = ["bench", "infer", "resnet18", "--stem", "imagenet"];
    let mut large = mish(&bench);
    large.args(["--batch-size", "65536"]);
    let message = failure(large, 2);
    assert!(message.contains("--batch-size 65536"), "{message}");
    let message = failure(
        mish(&["bench", "mish", "--shape", "65536,65536,65536,65536,65536"]),
        2,
    );
    assert!(message.contains("too large"), "{message}");
}

/// Headers and saved configurations are checked like flags.
#[test]
fn numbers_in_files_have_a_range() {
    let folder = tempfile::tempdir().expect("a folder");
    let weights = folder.path().join("weights.safetensors");
    let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).expect("zeros");
    let text = |pair: (&str, &str)| (pair.0.to_string(), pair.1.to_string());
    for number in [
        ("num_classes", "100000000000"),
        ("in_chans", "100000000000"),
    ] {
        let header = [
            ("model", "resnet20"),
            ("activation", "mish"),
            ("stem", "cifar"),
            ("num_classes", "100"),
        ];
        let mut header: BTreeMap<String, String> = header.map(text).into();
        header.extend([text(number)]);
        let tensors = [("fc.bias".to_string(), tensor.clone())];
        checkpoint::write(&weights, &tensors, &header).expect("written");
        let out = folder.path().join("out.onnx");
        for command in [
            &["eval", "--dataset", "synthetic"][..],
            &["export", "--out"],
        ] {
            let mut bad = mish(command);
            if command[0] == "export" {
                bad.arg(&out);
            }
            bad.arg("--weights").arg(&weights);
            let message = failure(bad, 1);
            let part = format!("{} is {}", number.0, number.1);
            assert!(message.contains(&part), "{message}");
        }
    }
    let run = folder.path().join("run");
    train(&run, &["--epochs", "1"]).assert().success();
    let config = run.join("config.toml");
    let saved = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, format!("num_classes = 100000000000\n{saved}")).expect("written");
    let mut resume = mish(&["train", "--resume"]);
    resume.arg(&run);
    let message = failure(resume, 1);
    assert!(message.contains("num_classes is 100000000000"), "{message}");
}
