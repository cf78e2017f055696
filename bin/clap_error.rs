//! What clap reports about the command line: one line that says what to do, or the help.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use candle_mish::suggest::correct;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

/// The extensions of files of weights.
const WEIGHTS: [&str; 6] = ["safetensors", "pth", "pt", "bin", "ckpt", "weights"];

/// Prints what clap reports about the arguments of this process for `command`, and returns the exit
/// code.
pub fn report(error: Error, command: &Command) -> ExitCode {
    let code = if error.use_stderr() { 2 } else { 0 };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A closed pipe is not a failure.
            let _ = error.print();
        }
        _ => {
            let words: Vec<OsString> = std::env::args_os().skip(1).collect();
            eprintln!("error: {}", message(error, command, &words));
        }
    }
    ExitCode::from(code)
}

/// The error of `command` about `words`, its arguments without the name of the program, in one line.
pub fn message(mut error: Error, command: &Command, words: &[OsString]) -> String {
    match error.kind() {
        ErrorKind::MissingRequiredArgument => missing(&error, command, words),
        ErrorKind::UnknownArgument => unknown(&mut error, command, words),
        _ => rendered(&error),
    }
}

/// clap's own text in one line, without the usage after it.
fn rendered(error: &Error) -> String {
    let text = error.render().to_string();
    let parts = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty());
    let mut message = String::new();
    for part in parts {
        if message.ends_with(':') {
            message.push(' ');
        } else if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(part);
    }
    match message.strip_prefix("error: ") {
        Some(message) => message.to_string(),
        None => message,
    }
}

/// `eval needs --weights FILE or --pretrained [TAG]`, or `--histograms needs --tensorboard`.
fn missing(error: &Error, command: &Command, words: &[OsString]) -> String {
    let missing = missing_in(error);
    if missing.is_empty() {
        return rendered(error);
    }
    let plain = |arg: &String| arg.replace(['<', '>'], "").replace('|', " or ");
    let needed: Vec<String> = missing.iter().map(plain).collect();
    let subject = requirer(missing, command, words).unwrap_or_else(|| name(command, words));
    let hint = match weights_among(words) {
        Some(file) if needed.iter().any(|arg| arg.starts_with("--weights")) => {
            format!("; did you mean --weights {file}?")
        }
        _ => String::new(),
    };
    format!("{subject} needs {}{hint}", needed.join(" and "))
}

/// The arguments that an error misses.
fn missing_in(error: &Error) -> &[String] {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing))
            if error.kind() == ErrorKind::MissingRequiredArgument =>
        {
            missing
        }
        _ => &[],
    }
}

/// The option that needs what is `missing`: without it, nothing of that is missing.
fn requirer(missing: &[String], command: &Command, words: &[OsString]) -> Option<String> {
    let is_requirer = |at: &usize| {
        let values = words[at + 1..].iter().take_while(|word| !is_option(word));
        let end = at + 1 + values.count();
        let others = words[..*at].iter().chain(&words[end..]);
        let command = command.clone().no_binary_name(true);
        match command.try_get_matches_from(others) {
            Ok(_) => true,
            Err(error) => !missing_in(&error).iter().any(|arg| missing.contains(arg)),
        }
    };
    let mut options = (0..words.len()).filter(|at| is_option(&words[*at]));
    let word = words[options.find(is_requirer)?].to_string_lossy();
    let option = word.split('=').next().unwrap_or_default();
    Some(option.to_string())
}

/// Whether a word is an option, not a value such as -0.5.
fn is_option(word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    word.starts_with('-') && word.parse::<f64>().is_err()
}

/// `command`, and the subcommands that `words` name.
fn path<'a>(command: &'a Command, words: &[OsString]) -> Vec<&'a Command> {
    let mut path = vec![command];
    let mut inner = command;
    for word in words {
        if let Some(subcommand) = inner.find_subcommand(word) {
            path.push(subcommand);
            inner = subcommand;
        }
    }
    path
}

/// The subcommands that `words` name, such as `study report`, or the program.
fn name(command: &Command, words: &[OsString]) -> String {
    let path = path(command, words);
    let named = if path.len() > 1 {
        &path[1..]
    } else {
        &path[..]
    };
    let names: Vec<&str> = named.iter().map(|command| command.get_name()).collect();
    names.join(" ")
}

/// The first word that is a file of weights and no value of an option.
fn weights_among(words: &[OsString]) -> Option<String> {
    let is_weights = |word: &OsString| {
        let extension = Path::new(word).extension().and_then(|text| text.to_str());
        extension.is_some_and(|extension| WEIGHTS.contains(&extension))
    };
    let found = words.iter().enumerate().find(|(at, word)| {
        let follows_option = *at > 0 && is_option(&words[at - 1]);
        is_weights(word) && !is_option(word) && !follows_option
    });
    found.map(|(_, word)| word.to_string_lossy().into_owned())
}

/// Names an unknown argument, and the option that it may be a slip of.
fn unknown(error: &mut Error, command: &Command, words: &[OsString]) -> String {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.clone(),
        _ => return rendered(error),
    };
    error.remove(ContextKind::SuggestedArg);
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        // Of another subcommand.
        let exists = format!("{argument}' exists");
        tips.retain(|tip| tip.to_string().contains(&exists));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    if let Some(option) = slip(&argument, command, words) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(option));
    }
    let message = rendered(error);
    match argument.as_str() {
        "true" | "false" => {
            format!("{message}; an option takes it after =, as in --grad-checkpointing={argument}")
        }
        _ => message,
    }
}

/// The option of the command in `words` that differs from `argument` by a slip of the keyboard.
fn slip(argument: &str, command: &Command, words: &[OsString]) -> Option<String> {
    let argument = argument.strip_prefix("--")?;
    let path = path(command, words).into_iter();
    let options = path.flat_map(|command| command.get_arguments().filter_map(Arg::get_long));
    // A command above may have the option, where it is no slip.
    let options = options.filter(|option| *option != argument);
    correct(argument, options).map(|option| format!("--{option}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{Arg, ArgAction, ArgGroup, Command};

    use super::message;

    fn command() -> Command {
        let option = |name: &'static str| Arg::new(name).long(name);
        let flag = |name: &'static str| option(name).action(ArgAction::SetTrue);
        let eval = Command::new("eval")
            .arg(Arg::new("MODEL"))
            .arg(option("weights").value_name("FILE"))
            .arg(option("pretrained").value_name("TAG").num_args(0..=1))
            .group(
                ArgGroup::new("source")
                    .args(["weights", "pretrained"])
                    .required(true),
            );
        let train = Command::new("train")
            .arg(Arg::new("MODEL"))
            .arg(option("epochs"))
            .arg(option("lr").allow_negative_numbers(true))
            .arg(option("weight-decay"))
            .arg(option("output").conflicts_with("resume"))
            .arg(option("resume"))
            .arg(flag("tensorboard"))
            .arg(flag("histograms").requires("tensorboard"));
        let report = Command::new("report").arg(Arg::new("DIR").required(true));
        let study = Command::new("study").subcommand(report);
        Command::new("mish").subcommands([eval, train, study])
    }

    fn said(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let parsed = command()
            .no_binary_name(true)
            .try_get_matches_from(words.clone());
        message(parsed.expect_err(line), &command(), &words)
    }

    #[test]
    fn missing_arguments_are_named() {
        for (line, expected) in [
            ("study report", "study report needs DIR"),
            ("eval", "eval needs --weights FILE or --pretrained [TAG]"),
            (
                "eval a.safetensors",
                "eval needs --weights FILE or --pretrained [TAG]; did you mean --weights \
                 a.safetensors?",
            ),
            (
                "train --lr -1 --histograms --epochs 3 resnet20",
                "--histograms needs --tensorboard",
            ),
        ] {
            assert_eq!(said(line), expected);
        }
    }

    #[test]
    fn only_slips_are_corrected() {
        let unknown = |argument: &str| format!("unexpected argument '{argument}' found");
        for (line, argument, tip) in [
            ("train --epoch 3", "--epoch", Some("--epochs")),
            (
                "train --weigth-decay 3",
                "--weigth-decay",
                Some("--weight-decay"),
            ),
            ("train --weights a", "--weights", None),
            ("train --wd 1", "--wd", None),
            ("eval --ema", "--ema", None),
        ] {
            let expected = match tip {
                Some(tip) => format!(
                    "{}; tip: a similar argument exists: '{tip}'",
                    unknown(argument)
                ),
                None => unknown(argument),
            };
            assert_eq!(said(line), expected);
        }
        let value = said("train resnet20 false");
        assert!(value.ends_with("--grad-checkpointing=false"), "{value}");
    }

    #[test]
    fn other_errors_are_one_line() {
        let conflict = said("train --output a --resume b");
        assert!(conflict.contains("cannot be used with"), "{conflict}");
        assert!(conflict.contains("--resume"), "{conflict}");
        assert!(said("trian").contains("'train'"));
    }
}
