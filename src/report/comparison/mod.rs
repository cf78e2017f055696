//! Several runs compared.

mod figure;
mod page;

use std::path::Path;

pub use figure::Figure;

use super::stored_run::StoredRun;

/// Settings that are not compared: places of files, which do not change the result, and the number of
/// epochs, which is a figure.
const NOT_COMPARED: [&str; 4] = ["data_dir", "cache_dir", "offline", "epochs"];

/// Runs with what differs between their configurations.
#[derive(Debug, Clone)]
pub struct Comparison {
    runs: Vec<(String, StoredRun)>,
    differing: Vec<String>,
}

impl Comparison {
    /// Compares runs. They are named after their folders, or with whole paths if two folders have one
    /// name.
    pub fn new(runs: Vec<StoredRun>) -> Self {
        let short = |run: &StoredRun| name(&run.folder);
        let mut names: Vec<String> = runs.iter().map(short).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        if unique.len() < names.len() {
            let whole = |run: &StoredRun| run.folder.display().to_string();
            names = runs.iter().map(whole).collect();
        }
        let mut settings: Vec<&String> = Vec::new();
        for (name, _) in runs.iter().flat_map(|run| &run.settings) {
            if !settings.contains(&name) && !NOT_COMPARED.contains(&name.as_str()) {
                settings.push(name);
            }
        }
        let differs = |name: &&&String| {
            let mut values = runs.iter().map(|run| run.setting(name));
            let first = values.next();
            values.any(|value| Some(value) != first)
        };
        let differing = settings.iter().filter(differs);
        Self {
            differing: differing.map(ToString::to_string).collect(),
            runs: names.into_iter().zip(runs).collect(),
        }
    }

    /// Sorts the runs by a figure, the best first. Equal runs keep their order.
    pub fn sort(&mut self, by: Figure) {
        self.runs.sort_by(|(_, a), (_, b)| by.order(a, b));
    }

    /// Sorts the runs by name.
    pub fn sort_by_name(&mut self) {
        self.runs.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// The runs with their names.
    pub fn runs(&self) -> &[(String, StoredRun)] {
        &self.runs
    }

    /// The figures that a run has.
    pub fn figures(&self) -> Vec<Figure> {
        let has = |figure: &Figure| self.runs.iter().any(|(_, run)| figure.of(run).is_some());
        Figure::ALL.into_iter().filter(has).collect()
    }

    /// The names of the settings that are not the same in all runs.
    pub fn differing(&self) -> &[String] {
        &self.differing
    }

    /// The heading of a setting's column: its name, or `recipe.loss` for a name that a figure has too.
    pub fn heading(setting: &str) -> String {
        let is_figure = |figure: Figure| [figure.name(), figure.heading()].contains(&setting);
        if Figure::ALL.into_iter().any(is_figure) {
            return format!("recipe.{setting}");
        }
        setting.to_string()
    }

    /// The names and values of the settings that are the same in all runs.
    pub fn same(&self) -> Vec<(&str, &str)> {
        let settings = self.runs.first().map(|(_, run)| run.settings.as_slice());
        let same = settings.unwrap_or_default().iter();
        let same = same.filter(|(name, _)| {
            !self.differing.contains(name) && !NOT_COMPARED.contains(&name.as_str())
        });
        same.map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

/// The last part of a path.
fn name(folder: &Path) -> String {
    // `runs/a/..` has no last part, and `.` has one only once it is resolved.
    let resolved = match folder.file_name() {
        Some(_) => folder.to_path_buf(),
        None => std::fs::canonicalize(folder).unwrap_or_default(),
    };
    match resolved.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => folder.display().to_string(),
    }
}
