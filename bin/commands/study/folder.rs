//! The folder of a study: its definition and its runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use candle_mish::checkpoint::write_atomically;
use candle_mish::study::{Outcome, PlannedRun, Study, WITHOUT_EFFECT};
use candle_mish::train::EpochRecord;
use candle_mish::train::run_folder::{METRICS, foreign_entry};

use crate::failure::usage;
use crate::remedy::subfolder;

/// The definition of the study.
pub(super) const STUDY: &str = "study.toml";
const RUNS: &str = "runs";
/// Held while the definition is compared and written.
const LOCK: &str = ".study.lock";

/// The folder of a study.
pub(super) struct StudyFolder {
    path: PathBuf,
}

impl StudyFolder {
    /// Makes the folder of `study`, or opens it. A study may get more values of its axes later, but
    /// the rest stays: its report has all runs.
    ///
    /// # Errors
    /// If the folder holds another study or other files, or cannot be written.
    pub(super) fn create(path: &Path, study: &Study) -> anyhow::Result<Self> {
        let folder = Self {
            path: path.to_path_buf(),
        };
        let (runs, file) = (path.join(RUNS), path.join(STUDY));
        // A study that another process started in the meantime is no other file.
        if let Some(entry) = foreign_entry(path, &[RUNS]).filter(|_| !file.exists()) {
            bail!(
                "the folder of the study is not empty and holds no study: it has {entry}; {}",
                subfolder(path)
            );
        }
        std::fs::create_dir_all(&runs)
            .with_context(|| format!("cannot create {}", runs.display()))?;
        // Until the end of this function, so that of two processes that start at once, the second one
        // compares its study with the first one's. Some network file systems have no locks.
        let lock = File::create(path.join(LOCK))
            .with_context(|| format!("cannot write {}", path.join(LOCK).display()))?;
        let _ = lock.lock();
        if file.exists() {
            let before = folder.study()?;
            if let Some(difference) = difference(&before, study) {
                return Err(usage(format!(
                    "{} holds a study with another setting: {difference}; choose another --output",
                    path.display()
                )));
            }
        }
        let text = study.to_toml();
        write_atomically(&file, |out| out.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(folder)
    }

    /// Opens the folder of a study.
    ///
    /// # Errors
    /// If it holds none.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Study)> {
        let folder = Self {
            path: path.to_path_buf(),
        };
        if !path.join(STUDY).is_file() {
            bail!("{} holds no study: {STUDY} is missing", path.display());
        }
        let study = folder.study()?;
        Ok((folder, study))
    }

    fn study(&self) -> anyhow::Result<Study> {
        let path = self.path.join(STUDY);
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Study::from_toml(&text, None).with_context(|| path.display().to_string())
    }

    /// The folder of a run.
    pub(super) fn run(&self, run: &PlannedRun) -> PathBuf {
        Self::run_in(&self.path, run)
    }

    /// The folder of a run in the folder `path` of a study.
    pub(super) fn run_in(path: &Path, run: &PlannedRun) -> PathBuf {
        path.join(RUNS).join(&run.name)
    }

    /// The link to the folder of a run from a page at `page`.
    ///
    /// # Errors
    /// If one of the folders does not exist.
    pub(super) fn link(&self, run: &PlannedRun, page: &Path) -> std::io::Result<String> {
        let beside = page
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let from = std::path::absolute(beside.unwrap_or(Path::new(".")))?.canonicalize()?;
        let to = self.path.canonicalize()?;
        let shared = from.components().zip(to.components());
        let shared = shared.take_while(|(a, b)| a == b).count();
        let up = from.components().skip(shared).map(|_| "..".to_owned());
        let down = to.components().skip(shared);
        let down = down.map(|part| part.as_os_str().to_string_lossy().into_owned());
        let parts = up.chain(down).chain([RUNS.to_owned(), run.name.clone()]);
        // Characters with a meaning in links.
        let escaped = |part: String| {
            let part = part.replace('%', "%25");
            part.replace('#', "%23").replace('?', "%3f")
        };
        let parts: Vec<String> = parts.map(escaped).collect();
        Ok(parts.join("/") + "/")
    }

    /// What became of each run.
    ///
    /// # Errors
    /// If a file of a run cannot be read.
    pub(super) fn outcomes(&self, runs: &[PlannedRun]) -> anyhow::Result<Vec<Outcome>> {
        let outcome = |run| Ok(Outcome::of(&self.run(run))?);
        runs.iter().map(outcome).collect()
    }

    /// The epochs of a run so far.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn records(&self, run: &PlannedRun) -> anyhow::Result<Vec<EpochRecord>> {
        let path = self.run(run).join(METRICS);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        // Another process may be writing the last line.
        let records = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        Ok(records.collect())
    }
}

/// What distinguishes two studies, except for the values of their axes.
fn difference(then: &Study, now: &Study) -> Option<String> {
    let names = |study: &Study| {
        study
            .axes
            .iter()
            .map(|axis| axis.name.clone())
            .collect::<Vec<_>>()
    };
    if names(then) != names(now) {
        return Some(format!(
            "its axes are {}, not {}",
            names(then).join(", "),
            names(now).join(", ")
        ));
    }
    for (axis, other) in then.axes.iter().zip(&now.axes) {
        let missing = axis
            .values
            .iter()
            .find(|value| !other.values.contains(value));
        if let Some(value) = missing {
            return Some(format!(
                "{} {value} is no longer one of its values",
                axis.name
            ));
        }
    }
    for (what, differs) in [
        ("kind", then.kind != now.kind),
        ("metric", then.metric != now.metric),
        ("baseline", then.baseline != now.baseline),
        ("paired_by", then.paired_by != now.paired_by),
    ] {
        if differs {
            return Some(format!("its {what} is another one"));
        }
    }
    let matters = |(key, _): &&(String, toml::Value)| !WITHOUT_EFFECT.contains(&key.as_str());
    let value = |study: &Study, key: &str| {
        let found = study.base.iter().find(|(name, _)| name == key);
        found.map_or("not set".to_owned(), |(_, value)| value.to_string())
    };
    let keys = then.base.iter().chain(&now.base).filter(matters);
    let mut keys = keys.map(|(key, _)| key.as_str());
    let key = keys.find(|key| value(then, key) != value(now, key))?;
    Some(format!(
        "{key} is {}, not {}",
        value(then, key),
        value(now, key)
    ))
}
