//! What became of a run.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::StudyError;
use crate::train::Summary;
use crate::train::run_folder::{CONFIG, SUMMARY};

/// The file in the folder of a run that failed.
pub const FAILURE: &str = "failure.json";

/// The file in the folder of a run that timed an activation.
pub const TIMING: &str = "timing.json";

/// What became of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It has not started.
    Missing,
    /// It has started and not ended.
    Started,
    /// It finished a training.
    Finished(Box<Summary>),
    /// It timed an activation.
    Timed(Timed),
    /// It failed, for example because its loss was not finite. Repeating it would fail again.
    Failed(Failure),
}

/// The time of an activation and where it was measured, the content of [`TIMING`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// The time of a call.
    pub milliseconds: f64,
    /// Where it was measured.
    #[serde(flatten)]
    pub place: Place,
}

/// Where times were measured. Times of different places are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The device: `cpu`, `cuda:N` or `metal`.
    pub device: String,
    /// Compute threads.
    pub threads: usize,
    /// The name of the processor. Files of version 0.1 do not record it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub processor: String,
}

/// Why a run failed, the content of [`FAILURE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error.
    pub reason: String,
}

/// The state, and why the run failed.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "failed: {}", failure.reason),
            outcome => f.write_str(outcome.state()),
        }
    }
}

impl Outcome {
    /// The state of the run in a word or two.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Missing => "not started",
            Self::Started => "not finished",
            Self::Finished(_) | Self::Timed(_) => "finished",
            Self::Failed(_) => "failed",
        }
    }

    /// Reads the outcome of the run in `folder`.
    ///
    /// # Errors
    /// If a file cannot be read or has another content.
    pub fn of(folder: &Path) -> Result<Self, StudyError> {
        if let Some(summary) = read(&folder.join(SUMMARY))? {
            return Ok(Self::Finished(Box::new(summary)));
        }
        if let Some(timed) = read(&folder.join(TIMING))? {
            return Ok(Self::Timed(timed));
        }
        if let Some(failure) = read(&folder.join(FAILURE))? {
            return Ok(Self::Failed(failure));
        }
        Ok(match folder.join(CONFIG).exists() {
            true => Self::Started,
            false => Self::Missing,
        })
    }

    /// Whether the run has a result.
    pub fn is_finished(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Timed(_))
    }

    /// Whether nothing is left to do.
    pub fn is_final(&self) -> bool {
        self.is_finished() || matches!(self, Self::Failed(_))
    }
}

/// Reads a JSON file; `None` if there is none.
fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, StudyError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(StudyError::io(path))?,
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| StudyError::Content {
            path: path.to_path_buf(),
            message: error.to_string(),
        })
}
