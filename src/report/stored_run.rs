//! A run as its folder records it.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Table;

use super::error::ReportError;
use super::settings::settings;
use crate::train::run_folder::{CONFIG, METRICS, SESSIONS, SUMMARY};
use crate::train::{EpochRecord, RunSession, Summary};

/// The configuration and the figures of a run, finished or not.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The folder.
    pub folder: PathBuf,
    /// The configuration in TOML.
    pub config: String,
    /// The names and values of the configuration.
    pub settings: Vec<(String, String)>,
    /// The finished epochs.
    pub records: Vec<EpochRecord>,
    /// The result, if the run is finished.
    pub summary: Option<Summary>,
    /// The processes that trained. Versions before 0.2 do not record them.
    pub sessions: Vec<RunSession>,
}

impl StoredRun {
    /// Reads the run in `folder`.
    ///
    /// # Errors
    /// If there is no run, or a file cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let file = |name| folder.join(name);
        let Some(config) = read(&file(CONFIG))? else {
            return Err(ReportError::NoRun {
                folder: folder.to_path_buf(),
                missing: CONFIG,
            });
        };
        let table: Table =
            toml::from_str(&config).map_err(|error| damaged(&file(CONFIG), error.message()))?;
        let summary = read(&file(SUMMARY))?;
        let summary = summary.map(|text| parse(&file(SUMMARY), &text));
        Ok(Self {
            settings: settings(&table),
            config,
            records: lines(&file(METRICS))?,
            summary: summary.transpose()?,
            sessions: lines(&file(SESSIONS))?,
            folder: folder.to_path_buf(),
        })
    }

    /// The value of a setting.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let mut settings = self.settings.iter();
        let found = settings.find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The epochs that the configuration asks for.
    pub fn epochs(&self) -> usize {
        let epochs = self.setting("epochs").and_then(|text| text.parse().ok());
        epochs.unwrap_or(self.records.len())
    }

    /// Whether the run has its result.
    pub fn is_finished(&self) -> bool {
        self.summary.is_some()
    }

    /// The epoch with the highest top-1 of the evaluation, the first of equals.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.records
            .iter()
            .reduce(|best, next| match next.top1 > best.top1 {
                true => next,
                false => best,
            })
    }
}

/// The text of a file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, ReportError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if [NotFound, NotADirectory].contains(&error.kind()) => Ok(None),
        Err(source) => Err(ReportError::Read {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// The lines of a file of JSON lines; none if there is no file. A last line without its end is left
/// out: a process that was killed left it.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ReportError> {
    let text = read(path)?.unwrap_or_default();
    let lines = text.split_inclusive('\n');
    let whole = lines.filter(|line| line.ends_with('\n') && !line.trim().is_empty());
    whole.map(|line| parse(path, line)).collect()
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ReportError> {
    serde_json::from_str(text).map_err(|error| damaged(path, &error.to_string()))
}

fn damaged(path: &Path, problem: &str) -> ReportError {
    ReportError::Damaged {
        path: path.to_path_buf(),
        problem: problem.lines().next().unwrap_or_default().to_string(),
    }
}
