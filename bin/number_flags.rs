//! Tests of every flag that takes a number: each has a range, and a bad value is an error that names the
//! flag.

use candle_mish::train::{Recipe, ScheduleKind};
use clap::{CommandFactory, Parser};

use super::Mish;
use crate::args::{RecipeArgs, in_flags};
use crate::clap_error::message;

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

const NETWORK: &[(&str, Takes)] = &[
    ("--num-classes", Positive),
    ("--in-chans", Positive),
    ("--drop", SHARE),
    ("--drop-path", SHARE),
];

const RECIPE: &[(&str, Takes)] = &[
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
        Number(&["0", "-1", "1e-9", "1e-300", "1e10"]),
    ),
    ("--decay-milestones", Number(&["-1", "1e39"])),
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

const WEIGHTS: [&str; 2] = ["--weights", "none.safetensors"];

/// The flags of a recipe alone.
#[derive(Debug, Parser)]
#[command(allow_negative_numbers = true)]
struct RecipeFlags {
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// The arguments that give `flag` each bad value.
fn bad_arguments(flag: &str, takes: &Takes) -> Vec<Vec<String>> {
    let (usual, special, count) = match takes {
        Positive => (COUNTS, &["0"][..], 1),
        Count => (COUNTS, &[][..], 1),
        Seed => (SEEDS, &[][..], 1),
        Number(outside) => (NUMBERS, *outside, 1),
        Numbers(count, outside) => (NUMBERS, *outside, *count),
    };
    let arguments = |value: &&str| {
        if count == 1 {
            return vec![format!("{flag}={value}")];
        }
        let values = vec![(*value).to_owned(); count];
        [vec![flag.to_owned()], values].concat()
    };
    usual.iter().chain(special).map(arguments).collect()
}

fn assert_names(flag: &str, arguments: &[String], error: &str) {
    assert!(error.contains(flag), "{arguments:?}: {error}");
    assert!(!error.contains('\n'), "{arguments:?}: {error}");
}

/// Checks that `mish` refuses every bad value of every flag of `command`.
fn refuses(command: &[&str], flags: &[(&str, Takes)]) {
    for (flag, takes) in flags {
        for arguments in bad_arguments(flag, takes) {
            let command = ["mish"]
                .iter()
                .chain(command)
                .map(|word| (*word).to_owned());
            let words: Vec<String> = command.chain(arguments.clone()).collect();
            let parsed = Mish::command().try_get_matches_from(&words);
            let Err(error) = parsed else {
                panic!("{} is accepted", words.join(" "));
            };
            let words: Vec<_> = words.into_iter().skip(1).map(Into::into).collect();
            assert_names(flag, &arguments, &message(error, &Mish::command(), &words));
        }
    }
}

/// Here some flags lack another flag that they need. The library's tests of recipes try each range with
/// what it needs.
#[test]
fn recipes_refuse_numbers_out_of_range() {
    for (flag, takes) in RECIPE {
        for arguments in bad_arguments(flag, takes) {
            let words = ["recipe".to_owned()].into_iter().chain(arguments.clone());
            let error = match RecipeFlags::try_parse_from(words) {
                Err(error) => error.to_string().lines().next().map(str::to_owned),
                Ok(given) => {
                    // One-cycle would ignore the warm-up.
                    let mut recipe = Recipe {
                        sched: ScheduleKind::Cosine,
                        ..Recipe::default()
                    };
                    given.recipe.apply(&mut recipe);
                    let error = recipe.validate().expect_err(&arguments.join(" "));
                    Some(in_flags(error).to_string())
                }
            };
            assert_names(flag, &arguments, &error.unwrap_or_default());
        }
    }
}

#[test]
fn commands_refuse_numbers_out_of_range() {
    for command in [&["train", "resnet20"][..], &["train", "--resume", "none"]] {
        refuses(command, NETWORK);
        refuses(command, DATA);
    }
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
    refuses(&["bench", "mish"], &[("--rounds", Positive)]);
    refuses(&["activations"], &[("--threads", Positive)]);
}
