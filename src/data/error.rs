//! Errors of data sets.

use std::path::{Path, PathBuf};

use crate::hub::HubError;

/// An error in finding or reading a data set. The message is one line with the place, the problem
/// and what is expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The operating system refused to read a file or folder.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The content of a file is invalid.
    #[error("{}: {problem}; expected {expected}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
        /// The expected content.
        expected: String,
    },
    /// A folder does not have the files of the data set.
    #[error("no {dataset} in {}: {problem}; expected {expected}", path.display())]
    Missing {
        /// The data set.
        dataset: &'static str,
        /// The folder.
        path: PathBuf,
        /// The content of the folder.
        problem: String,
        /// The supported layouts.
        expected: String,
    },
    /// A data set has no folder, and the Hub did not provide it.
    #[error("{dataset} is not available; set {setting} to its folder")]
    Unavailable {
        /// The data set.
        dataset: &'static str,
        /// The options that name its folder.
        setting: &'static str,
        /// Why the Hub did not provide it.
        source: HubError,
    },
    /// No data set has this name.
    #[error("unknown data set '{name}'{}; expected auto, cifar100, cifar10, mnist, fashion-mnist, synthetic or folder:PATH", did_you_mean(.suggestion))]
    UnknownDataset {
        /// The name given.
        name: String,
        /// The nearest known name, if one is near.
        suggestion: Option<&'static str>,
    },
    /// Images of a data set cannot be decoded.
    #[error("{bad} of {checked} images in {} cannot be decoded: {first}; repair or remove them, or leave them out with bad_images = skip", path.display())]
    BadImages {
        /// The folder of the data set.
        path: PathBuf,
        /// The number of these images.
        bad: usize,
        /// The number of images that were checked.
        checked: usize,
        /// The first of them, with the problem of each.
        first: String,
    },
    /// An image of a data set cannot be decoded, although its header is intact.
    #[error("{}: {problem}; repair or remove the image, or leave it out with bad_images = skip", path.display())]
    BadImage {
        /// The image file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// Classes have names that the network or the class map does not know.
    #[error(
        "{dataset}: {unknown} of {total} {} match no class of {of}: {names}{}",
        noun_of_classes(*in_folders),
        advice_on_classes(*in_folders, unknown < total)
    )]
    UnknownClasses {
        /// The data set.
        dataset: String,
        /// The number of such classes.
        unknown: usize,
        /// The number of all classes.
        total: usize,
        /// What does not know them: the network or the class map.
        of: &'static str,
        /// The first of their names.
        names: String,
        /// Whether the classes are folders of images, which a class map can give labels.
        in_folders: bool,
    },
    /// An option is out of its range or does not fit the data.
    #[error("{option} = {value}: {problem}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// Its value.
        value: String,
        /// The problem and the expected values.
        problem: String,
    },
}

impl DataError {
    /// The message with the messages of its causes, for errors and records that hold text only.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    /// The problem without the file's name.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Invalid { problem, .. } => problem.clone(),
            Self::Io { source, .. } => source.to_string(),
            other => other.with_causes(),
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn invalid(
        path: &Path,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            problem: problem.into(),
            expected: expected.into(),
        }
    }
}

/// A number of things: `1 image`, `2 images`.
pub(super) fn counted(count: usize, thing: &str) -> String {
    match (count, thing.ends_with('s')) {
        (1, _) => format!("1 {thing}"),
        (_, true) => format!("{count} {thing}es"),
        (_, false) => format!("{count} {thing}s"),
    }
}

/// The first items of a list, and the number of the rest.
pub(super) fn abridged<T: std::fmt::Display>(items: &[T]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = items.iter().take(SHOWN).map(T::to_string).collect();
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(rest) => format!("{} and {rest} more", shown.join(", ")),
    }
}

fn noun_of_classes(in_folders: bool) -> &'static str {
    if in_folders {
        "class folders"
    } else {
        "classes"
    }
}

/// What to do about unknown classes. Only if `some` are known, the others can be left out.
fn advice_on_classes(in_folders: bool, some: bool) -> &'static str {
    match (in_folders, some) {
        (true, true) => {
            "; give their labels in class_map, or leave them out with ignore_unknown_classes"
        }
        (true, false) => "; give their labels in class_map",
        (false, true) => "; leave them out with ignore_unknown_classes",
        (false, false) => "",
    }
}

fn did_you_mean(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}
