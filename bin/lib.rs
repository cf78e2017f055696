//! The command line of candle-mish: `mish` with all commands, and one `train-<family>` program for
//! each family of networks.

mod allocator;
mod args;
mod bench;
mod clap_error;
mod classes;
mod commands;
mod config;
mod context;
mod csv;
mod dataset;
mod device;
mod embedded;
mod failure;
mod interrupt;
mod logging;
mod machine;
mod network;
#[cfg(test)]
mod number_flags;
mod output;
mod output_file;
mod preprocessing;
mod ranks;
mod recipes;
mod remedy;
mod shell;
mod source;
mod table;
mod training_images;
mod unknown_model;

use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use indicatif::MultiProgress;

use args::GlobalArgs;
use commands::train::{self, Family};
use commands::{
    activations, compare, completions, data, doctor, eval, export, lr_find, models, plot, predict,
    report, study, swap,
};
use context::Context;
use failure::{Done, usage};

/// Train, evaluate and compare image classifiers with Mish or any other activation.
#[derive(Debug, Parser)]
#[command(name = "mish", version, propagate_version = true, max_term_width = 100)]
struct Mish {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network
    Train(Box<train::TrainArgs>),
    /// Find a learning rate by a range test
    LrFind(Box<lr_find::LrFindArgs>),
    /// Measure the accuracy of a trained network
    Eval(eval::EvalArgs),
    /// Classify images
    Predict(predict::PredictArgs),
    /// Rebuild the report of a run
    Report(report::ReportArgs),
    /// Compare runs: a table, curves and a web page
    Compare(compare::CompareArgs),
    /// Replace the activation of a trained network and measure the effect
    Swap(Box<swap::SwapArgs>),
    /// Train every combination of some options over several seeds and compare them with statistics
    Study(study::StudyArgs),
    /// Average the weights of several checkpoints of one network
    Average(commands::average::AverageArgs),
    /// Plot activations, signal propagation and loss landscapes
    Plot(Box<plot::PlotArgs>),
    /// Write weights for timm and torchvision, or as ONNX
    Export(export::ExportArgs),
    /// List the networks, or the layers of one network
    Models(models::ModelsArgs),
    /// Inspect the images of a data set
    Data(data::DataCommandArgs),
    /// List the activations
    Activations,
    /// List the recipes of --recipe, or print one
    Recipes(commands::recipes::RecipesArgs),
    /// Measure speed
    Bench(commands::bench::BenchArgs),
    /// Show build features and hardware, and check MPI
    Doctor,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Train a network of one family.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct TrainFamily {
    #[command(flatten)]
    train: train::TrainArgs,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Runs `mish` with the arguments of this process.
pub fn mish() -> ExitCode {
    run::<Mish>(
        Mish::command(),
        |mish| (mish.global.clone(), mish),
        |mish, context| match mish.command {
            Command::Train(args) => train::run(&args, None, context),
            Command::LrFind(args) => lr_find::run(&args, context),
            Command::Eval(args) => eval::run(&args, context),
            Command::Predict(args) => predict::run(&args, context),
            Command::Report(args) => report::run(&args, context),
            Command::Compare(args) => compare::run(&args, context),
            Command::Swap(args) => swap::run(&args, context),
            Command::Study(args) => study::run(&args, context),
            Command::Average(args) => commands::average::run(&args, context),
            Command::Plot(args) => plot::run(&args, context),
            Command::Export(args) => export::run(&args, context),
            Command::Models(args) => models::run(&args, context),
            Command::Data(args) => data::run(&args, context),
            Command::Activations => activations::run(context),
            Command::Recipes(args) => commands::recipes::run(&args, context),
            Command::Bench(args) => commands::bench::run(&args, context),
            Command::Doctor => doctor::run(context),
            Command::Completions(args) => completions::run(&args, Mish::command()),
        },
    )
}

/// Runs `program`, such as `train-wide-resnet`, with the arguments of this process. It trains
/// networks of the family in its name, and `default` if the user names none.
pub fn train_family(program: &'static str, default: &'static str) -> ExitCode {
    let family = Family::of_program(program, default);
    let command = TrainFamily::command().name(program).about(format!(
        "Train a network of the {} family [default: {default}]",
        family.name
    ));
    run::<TrainFamily>(
        command,
        |args| (args.global.clone(), args),
        |args, context| train::run(&args.train, Some(&family), context),
    )
}

/// Parses the arguments, sets up threads and logging, and runs a command.
fn run<P: FromArgMatches>(
    command: clap::Command,
    global: impl FnOnce(P) -> (GlobalArgs, P),
    body: impl FnOnce(P, &Context) -> anyhow::Result<Done>,
) -> ExitCode {
    allocator::keep_freed_memory();
    let parsed = command
        .clone()
        .try_get_matches()
        .and_then(|matches| P::from_arg_matches(&matches));
    let (global, parsed) = match parsed {
        Ok(parsed) => global(parsed),
        // clap reports help and version as errors too.
        Err(error) => return clap_error::report(error, &command),
    };
    let result = prepare(&global).and_then(|context| body(parsed, &context));
    failure::exit_code(result)
}

/// Keeps panics of the parquet crate off stderr. They mean a damaged file, and the library reports
/// them as an error.
fn quiet_parquet() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or("", |location| location.file());
        match place.contains("/parquet-") {
            true => tracing::debug!("{panic}"),
            false => report(panic),
        }
    }));
}

fn prepare(global: &GlobalArgs) -> anyhow::Result<Context> {
    let started = Instant::now();
    let bars = MultiProgress::new();
    let launched = ranks::launched()?;
    device::choose(global.device, launched.map_or(0, |place| place.local_rank));
    let several = launched.filter(|place| place.size > 1);
    let silent = several.is_some_and(|place| place.rank > 0);
    let verbosity = (!silent).then_some(global.verbose);
    let log_file = global.log_file.as_deref().filter(|_| !silent);
    logging::init(verbosity, log_file, &bars)?;
    quiet_parquet();
    let own = several.map(|place| place.threads(machine::node_cores(), machine::cores()));
    if let Some(threads) = global.threads.or(own) {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|error| usage(format!("--threads {threads}: {error}")))?;
    }
    Ok(Context {
        started,
        json: global.json,
        threads: rayon::current_num_threads(),
        launched,
        bars,
    })
}
