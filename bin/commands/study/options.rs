//! From the settings of a run to the arguments of `mish train`, so that a study takes every option
//! that a run takes, with the same checks.

use std::ffi::OsString;
use std::path::Path;

use candle_mish::study::{PlannedRun, Settings, WITHOUT_EFFECT};
use clap::{CommandFactory, Parser};

use crate::clap_error;
use crate::commands::train::{TrainArgs, flag_words};
use crate::failure::usage;

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Options {
    #[command(flatten)]
    train: TrainArgs,
}

/// The option that names the network, which `mish train` takes without a flag.
const MODEL: &str = "model";

/// The arguments of a new run, in `folder`.
///
/// # Errors
/// A usage error if an option is unknown or its value not valid.
pub(super) fn new_run(run: &PlannedRun, folder: &Path) -> anyhow::Result<TrainArgs> {
    let mut words = words(&run.settings);
    words.push("--output".to_owned());
    words.push(folder.display().to_string());
    parse(&run.name, words)
}

/// The arguments of a run that continues in `folder`. Only the options that the result does not depend
/// on can differ from those that it started with.
///
/// # Errors
/// A usage error, as [`new_run`].
pub(super) fn resumed(run: &PlannedRun, folder: &Path) -> anyhow::Result<TrainArgs> {
    let settings = run.settings.iter();
    let settings = settings.filter(|(key, _)| WITHOUT_EFFECT.contains(&key.as_str()));
    let mut words = words(&settings.cloned().collect());
    words.push("--resume".to_owned());
    words.push(folder.display().to_string());
    parse(&run.name, words)
}

/// Whether an option is a flag that takes no value, so that `false` means to leave it out.
fn is_flag(key: &str) -> bool {
    let flag = key.replace('_', "-");
    let command = Options::command();
    let mut options = command.get_arguments();
    options.any(|option| {
        option.get_long() == Some(flag.as_str()) && !option.get_action().takes_values()
    })
}

fn words(settings: &Settings) -> Vec<String> {
    let mut words = Vec::new();
    for (key, value) in settings {
        match (key.as_str(), value) {
            (MODEL, value) => words.insert(0, candle_mish::study::plain(value)),
            (key, toml::Value::Boolean(false)) if is_flag(key) => {}
            (key, value) => words.extend(flag_words(key, value)),
        }
    }
    words
}

fn parse(name: &str, words: Vec<String>) -> anyhow::Result<TrainArgs> {
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    match Options::try_parse_from(&words) {
        Ok(options) => Ok(options.train),
        Err(error) => {
            let message = clap_error::message(error, &Options::command(), &words);
            Err(usage(format!("run {name}: {message}")))
        }
    }
}
