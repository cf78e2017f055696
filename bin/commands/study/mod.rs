//! `mish study`: trains, or times, every combination of some options several times and compares them
//! with statistics.

mod csv;
mod folder;
mod options;
mod presets;
mod report;
mod runner;
mod text;
mod timing;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use toml::Value;

use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;

/// Arguments of `mish study`.
#[derive(Debug, Args)]
pub struct StudyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Execute the missing runs, then print the report
    Run(RunArgs),
    /// Report the results so far
    Report(report::ReportArgs),
    /// List the studies that ship with this program
    List,
    /// Print a study as TOML, as a template for your own
    Show(ShowArgs),
}

/// Arguments of `mish study run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// A study of `mish study list`, or a TOML file
    study: String,
    /// Folder of the study. Several processes, on several machines too, can work in one folder
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// smoke, laptop or paper, if the study has them [default: the study's own values]
    #[arg(long, value_name = "NAME")]
    budget: Option<String>,
    /// Override an option of all runs, such as epochs=5, or the values of an axis, such as
    /// seed=[0,1]. Can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, Value)>,
    /// Check the options and list the runs, without executing them
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `mish study show`.
#[derive(Debug, Args)]
struct ShowArgs {
    /// A study of `mish study list`
    study: String,
}

/// Runs `mish study`.
///
/// # Errors
/// If a study is not valid, or a run fails for a reason other than its loss.
pub fn run(args: &StudyArgs, context: &Context) -> anyhow::Result<Done> {
    match &args.command {
        Command::Run(args) => {
            let mut study = presets::find(&args.study, args.budget.as_deref())?;
            for (name, value) in &args.set {
                let set = study.set(name, value.clone());
                set.map_err(|error| usage(format!("--set {name}: {error}")))?;
            }
            if args.dry_run {
                return runner::list(&study, &args.output, context);
            }
            runner::run(&study, &args.output, context)
        }
        Command::Report(args) => report::run(args, context),
        Command::List => presets::list(context),
        Command::Show(args) => {
            output::text(presets::text(&args.study)?)?;
            Ok(Done::Complete)
        }
    }
}

/// A key and a value. Text that is no TOML value is a string.
fn setting(text: &str) -> Result<(String, Value), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("expected KEY=VALUE".to_owned());
    };
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    Ok((key.replace('-', "_"), value))
}
