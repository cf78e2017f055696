//! How a command ends: its exit code, and one line on stderr if it failed.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use candle_mish::data::DataError;
use candle_mish::hub::HubError;
use candle_mish::train::TrainError;

use crate::remedy::remedy;

/// How a command ended if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It did everything.
    Complete,
    /// Ctrl-C or a signal stopped it, after it saved its state.
    Interrupted,
    /// The time limit stopped it, after it saved its state.
    TimeLimit,
}

/// The exit code of an interrupted command: 128 + SIGINT, as in shells.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a command that its time limit stopped: EX_TEMPFAIL of sysexits.h, "try again".
pub const TIME_LIMIT: u8 = 75;

/// An error in the command line, independent of files and the machine.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

/// A [`Usage`] error.
pub fn usage(message: impl fmt::Display) -> anyhow::Error {
    Usage(message.to_string()).into()
}

/// Turns a result into an exit code: 0 done, 1 failed, 2 usage, 75 and 130 ended early by
/// the time limit or a signal, after saving.
pub fn exit_code(result: anyhow::Result<Done>) -> ExitCode {
    let error = match result {
        Ok(Done::Complete) => return ExitCode::SUCCESS,
        Ok(Done::Interrupted) => return ExitCode::from(INTERRUPTED),
        Ok(Done::TimeLimit) => return ExitCode::from(TIME_LIMIT),
        Err(error) => error,
    };
    // `mish models | head` closes the pipe early. That is not a failure.
    let closed = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
    if closed {
        return ExitCode::SUCCESS;
    }
    tracing::debug!("{error:?}");
    eprintln!("error: {}", message(&error));
    ExitCode::from(code(&error))
}

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() { 2 } else { 1 }
}

/// An error with its causes in one line, joined by ": ", then the remedy. A cause that the line
/// already contains is left out.
pub fn message(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = text(cause, &line);
        append(&mut line, &text);
    }
    match error.chain().find_map(remedy) {
        Some(remedy) => format!("{line}; {remedy}"),
        None => line,
    }
}

/// Appends a cause to a line, without what the line already says.
fn append(line: &mut String, cause: &str) {
    if line.contains(cause) {
        return;
    }
    // The cause may begin with the end of the line: "cannot read x" and "x: no such file".
    let overlap = cause
        .char_indices()
        .map(|(end, _)| &cause[..end])
        .rfind(|start| line.ends_with(start))
        .unwrap_or_default();
    // Shorter overlaps are coincidental.
    if overlap.len() >= 4 || overlap.len() == line.len() {
        line.push_str(&cause[overlap.len()..]);
    } else {
        line.push_str(": ");
        line.push_str(cause);
    }
}

/// The message of one cause, which follows the causes in `line`.
fn text(cause: &(dyn Error + 'static), line: &str) -> String {
    match cause.downcast_ref() {
        // The rest of these messages names the library's arguments.
        Some(DataError::Unavailable { dataset, .. }) => {
            return format!("{dataset} is not available");
        }
        Some(DataError::Option {
            option: "dataset",
            value,
            ..
        }) => return format!("--dataset {value} has no path"),
        _ => {}
    }
    // The remedy names the folder.
    if let Some(TrainError::FolderNotEmpty { entry, .. }) = cause.downcast_ref() {
        return format!("the run folder is not empty and holds no run: it has {entry}");
    }
    if let Some(HubError::Other { repo, problem }) = cause.downcast_ref()
        && line.contains(repo)
    {
        return without_place(one_line(problem));
    }
    with_flags(&without_place(one_line(&cause.to_string())))
}

/// Arguments of the library that its messages advise to set. Each is a flag with dashes.
const ARGUMENTS: [&str; 9] = [
    "bad_images",
    "class_map",
    "class_order",
    "data_dir",
    "exif_transpose",
    "ignore_unknown_classes",
    "scale_16bit",
    "state_dict_key",
    "time_limit",
];

/// A message with the flags of the [`ARGUMENTS`] that it names.
pub fn with_flags(message: &str) -> String {
    flags_for(message, |_, word| ARGUMENTS.contains(&word))
}

/// A message with flags in place of the words that `is_argument` accepts, given the position of the word:
/// `class_map = none` becomes `--class-map none`.
pub fn flags_for(message: &str, is_argument: impl Fn(usize, &str) -> bool) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut is_flag = false;
    for (index, word) in message.split(' ').enumerate() {
        if is_flag && word == "=" {
            is_flag = false;
            continue;
        }
        let name = word.trim_matches(|c| "(),;:.\n".contains(c));
        is_flag = is_argument(index, name);
        words.push(if is_flag {
            word.replace(name, &format!("--{}", name.replace('_', "-")))
        } else {
            word.to_string()
        });
    }
    words.join(" ")
}

/// Removes the path or URL that tempfile and the Hub's client append to a message which has it
/// already.
fn without_place(mut text: String) -> String {
    for (start, end) in [(" at path \"", "\""), (" (url=", ")")] {
        if let Some(first) = text.find(start)
            && let Some(length) = text[first + start.len()..].find(end)
        {
            text.replace_range(first..first + start.len() + length + end.len(), "");
        }
    }
    text
}

/// A message in one line. Candle appends a backtrace if RUST_BACKTRACE is set, which is cut off.
pub fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("0: "));
    let lines = lines.filter(|line| !line.is_empty());
    lines.take(3).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context;
    use candle_mish::data::DataError;
    use candle_mish::hub::HubError;
    use candle_mish::train::TrainError;

    use super::{message, with_flags};

    #[test]
    fn causes_are_joined_once() {
        let cause = || std::io::Error::other("Is a directory (os error 21)");
        let error = DataError::Io {
            path: PathBuf::from("images"),
            source: cause(),
        };
        assert_eq!(
            message(&error.into()),
            "cannot read images: Is a directory (os error 21)"
        );
        let nested = Err::<(), _>(anyhow::anyhow!("a.toml: no such key"))
            .context("a.toml")
            .context("--recipe a.toml");
        assert_eq!(
            message(&nested.expect_err("an error")),
            "--recipe a.toml: no such key"
        );
        let chain = anyhow::Error::from(cause()).context("cannot open weights");
        assert_eq!(
            message(&chain),
            "cannot open weights: Is a directory (os error 21)"
        );
    }

    #[test]
    fn remedies_are_flags() {
        let diverged = TrainError::NonFiniteLoss {
            loss: f64::NAN,
            epoch: 2,
            step: 30,
            lr: 0.5,
            origin: None,
        };
        assert_eq!(
            message(&diverged.into()),
            "the loss became NaN in epoch 2, step 30 (learning rate 0.5000); lower --lr, raise \
             --warmup-epochs, clip gradients with --clip-grad, or leave out such updates with --nan skip"
        );
        let taken = anyhow::Error::from(TrainError::FolderTaken(PathBuf::from("runs/1")));
        let message = message(&taken);
        assert_eq!(message.matches("runs/1").count(), 1, "{message}");
        assert!(message.contains("--resume") && message.contains("--output"));
    }

    #[test]
    fn an_unreachable_hub_is_reported_once() {
        let unreachable = HubError::Unreachable {
            endpoint: "https://huggingface.co".to_string(),
            reason: "Name or service not known".to_string(),
        };
        let unavailable = DataError::Unavailable {
            dataset: "CIFAR-100",
            setting: "data_dir or CIFAR100_DIR",
            source: unreachable,
        };
        assert_eq!(
            message(&unavailable.into()),
            "CIFAR-100 is not available: cannot reach the Hugging Face Hub at \
             https://huggingface.co: Name or service not known; name its folder with --data-dir"
        );
    }

    #[test]
    fn arguments_become_flags() {
        let library = "no class of the network: x, y; give their labels in class_map, or leave them \
                       out with ignore_unknown_classes";
        assert_eq!(
            message(&anyhow::anyhow!(library)),
            "no class of the network: x, y; give their labels in --class-map, or leave them out \
             with --ignore-unknown-classes"
        );
        let option = "x: state_dict_key = ema: no such table (state_dict_key); it has model";
        assert_eq!(
            message(&anyhow::anyhow!(option)),
            "x: --state-dict-key ema: no such table (--state-dict-key); it has model"
        );
        let warning = "using the SYNTHETIC data set; set data_dir or CIFAR100_DIR to the folder";
        assert_eq!(
            with_flags(warning),
            "using the SYNTHETIC data set; set --data-dir or CIFAR100_DIR to the folder"
        );
        // A file, not the argument.
        let path = "/data/class_map: line 3: no label in class_map.txt";
        assert_eq!(message(&anyhow::anyhow!(path)), path);
    }

    #[test]
    fn paths_and_addresses_are_not_repeated() {
        let error = std::io::Error::other("denied at path \"/out/.tmp\"");
        let error = anyhow::Error::from(error).context("cannot write /out/x.onnx");
        assert_eq!(message(&error), "cannot write /out/x.onnx: denied");
    }
}
