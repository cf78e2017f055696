//! What can be wrong with a study.

use std::path::{Path, PathBuf};

/// A study that cannot be read, or whose runs cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// Not TOML, an unknown key, or a value of another type.
    #[error("{}{message}", at(*.line))]
    Syntax {
        /// The line, counted from 1.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// Keys and values that do not fit together.
    #[error("{0}")]
    Contradiction(String),
    /// A run lacks the figure to compare. Only the moving average of the weights is optional.
    #[error(
        "run {run} has no {metric}: it needs model_ema, the moving average of the weights; choose \
         another metric"
    )]
    NoFigure {
        /// The name of the run.
        run: String,
        /// The name of the metric.
        metric: &'static str,
    },
    /// A file cannot be read or written.
    #[error("cannot access {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of a run does not have the expected content.
    #[error("{}: {message}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl StudyError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

fn at(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}
