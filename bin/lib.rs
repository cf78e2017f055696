//! The commands behind the binaries: `mish` with all of them, and one `train-<family>` for each
//! family of networks.

mod args;
mod bench;
mod commands;
mod config;
mod device;
mod failure;
mod interrupt;
mod logging;
mod network;
mod output;
mod pictures;
mod source;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use indicatif::MultiProgress;

use args::GlobalArgs;
use commands::{activations, completions, eval, export, models, predict, swap, train};
use failure::{Done, usage};

/// What commands share beside their own flags.
pub(crate) struct Context {
    /// Answers are printed as JSON.
    pub json: bool,
    /// The threads computed with.
    pub threads: usize,
    /// The bars that log lines have to go around.
    pub bars: MultiProgress,
}

/// Train, evaluate and compare image classifiers with any activation, Mish first.
#[derive(Debug, Parser)]
#[command(name = "mish", version, propagate_version = true, max_term_width = 100)]
struct Mish {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network
    Train(Box<train::TrainArgs>),
    /// Measure the accuracy of trained weights
    Eval(eval::EvalArgs),
    /// Write trained weights for timm and torchvision, or as ONNX
    Export(export::ExportArgs),
    /// Put other activations into trained weights and measure what they do
    Swap(Box<swap::SwapArgs>),
    /// List the networks
    Models(models::ModelsArgs),
    /// List the activations
    Activations,
    /// Name the class of an image
    Predict(predict::PredictArgs),
    /// Measure speed
    Bench(commands::bench::BenchArgs),
    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),
}

/// Train a network of one family.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct TrainFamily {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    train: train::TrainArgs,
}

/// Runs `mish` with the arguments of this process.
pub fn mish() -> ExitCode {
    run::<Mish>(
        Mish::command(),
        |mish| (mish.global.clone(), mish),
        |mish, context| match mish.command {
            Command::Train(args) => train::run(&args, None, context),
            Command::Eval(args) => eval::run(&args, context),
            Command::Export(args) => export::run(&args, context),
            Command::Swap(args) => swap::run(&args, context),
            Command::Models(args) => models::run(&args, context),
            Command::Activations => activations::run(context),
            Command::Predict(args) => predict::run(&args, context),
            Command::Bench(args) => commands::bench::run(&args, context),
            Command::Completions(args) => completions::run(&args, Mish::command()),
        },
    )
}

/// Runs the binary `name`, which trains networks of one family, with the arguments of this
/// process; `default` is trained if no network is named.
pub fn train_family(name: &'static str, family: &'static str, default: &'static str) -> ExitCode {
    let command = TrainFamily::command().name(name).about(format!(
        "Train a network of the {family} family [default: {default}]"
    ));
    let scope = train::Family {
        name: family,
        default,
    };
    run::<TrainFamily>(
        command,
        |args| (args.global.clone(), args),
        |args, context| train::run(&args.train, Some(scope), context),
    )
}

/// Parses the arguments, sets up threads and logging, and runs a command.
fn run<P: FromArgMatches>(
    command: clap::Command,
    global: impl FnOnce(P) -> (GlobalArgs, P),
    body: impl FnOnce(P, &Context) -> anyhow::Result<Done>,
) -> ExitCode {
    let parsed = command
        .try_get_matches()
        .and_then(|matches| P::from_arg_matches(&matches));
    let parsed = match parsed {
        Ok(parsed) => parsed,
        // Help and version are errors to clap; they go to stdout. A closed pipe is no failure.
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}", failure::clap_message(&error));
            return ExitCode::from(2);
        }
    };
    let (global, parsed) = global(parsed);
    let result = prepare(&global).and_then(|context| body(parsed, &context));
    failure::exit_code(result)
}

fn prepare(global: &GlobalArgs) -> anyhow::Result<Context> {
    device::choose(global.device);
    let bars = MultiProgress::new();
    logging::init(global.verbose, global.log_file.as_deref(), &bars)?;
    if let Some(threads) = global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| usage(format!("--threads {threads}: {error}")))?;
    }
    Ok(Context {
        json: global.json,
        threads: rayon::current_num_threads(),
        bars,
    })
}
