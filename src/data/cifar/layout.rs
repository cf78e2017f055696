//! Finding the files of a data set in a folder.

use std::path::{Path, PathBuf};

use super::spec::Spec;
use crate::data::error::DataError;

/// The files of a data set.
#[derive(Debug)]
pub(super) enum Layout {
    /// The Hub's layout.
    Parquet {
        train: Vec<PathBuf>,
        test: Vec<PathBuf>,
    },
    /// The files of the binary version.
    Binary {
        train: Vec<PathBuf>,
        test: Vec<PathBuf>,
    },
    /// The binary version's archive.
    Archive(PathBuf),
}

impl Layout {
    /// Looks in `path`, then in the subfolders of the published layouts. `path` may also be the
    /// archive.
    pub(super) fn find(path: &Path, spec: &Spec) -> Result<Self, DataError> {
        let missing = |path: &Path, problem: String| DataError::Missing {
            dataset: spec.title,
            path: path.to_owned(),
            problem,
            expected: spec.expected(),
        };
        let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(path, "there is no such folder".to_owned()),
            _ => DataError::io(path, error),
        })?;
        if kind.is_file() {
            return archive_or_refusal(path, spec);
        }
        let folders = std::iter::once(path.to_owned())
            .chain(spec.subfolders.iter().map(|name| path.join(name)));
        for folder in folders.filter(|folder| folder.is_dir()) {
            let names = list(&folder)?;
            let train = shards(&folder, &names, "train", spec)?;
            let test = shards(&folder, &names, "test", spec)?;
            match (train.is_empty(), test.is_empty()) {
                (false, false) => return Ok(Self::Parquet { train, test }),
                (false, true) => return Err(missing(&folder, no("test-*.parquet"))),
                (true, false) => return Err(missing(&folder, no("train-*.parquet"))),
                (true, true) => {}
            }
            let binaries = || spec.train_files.iter().chain(spec.test_files);
            if binaries().any(|file| names.iter().any(|name| name == file)) {
                if let Some(absent) = binaries().find(|file| !names.iter().any(|n| n == *file)) {
                    return Err(missing(&folder, no(absent)));
                }
                let all = |files: &[&str]| files.iter().map(|file| folder.join(file)).collect();
                return Ok(Self::Binary {
                    train: all(spec.train_files),
                    test: all(spec.test_files),
                });
            }
            if names.iter().any(|name| name == spec.archive) {
                return Ok(Self::Archive(folder.join(spec.archive)));
            }
        }
        let names = list(path)?;
        if let Some(pickle) = names
            .iter()
            .find(|name| spec.pickles.contains(&name.as_str()))
        {
            return Err(missing(path, pickled(pickle)));
        }
        let problem = if names.is_empty() {
            "the folder is empty".to_owned()
        } else {
            "it has none of the files".to_owned()
        };
        Err(missing(path, problem))
    }
}

fn no(file: &str) -> String {
    format!("there is no {file}")
}

fn pickled(name: &str) -> String {
    format!("{name} is the Python version, and reading its pickles can run code")
}

fn archive_or_refusal(path: &Path, spec: &Spec) -> Result<Layout, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if spec.pickles.contains(&name.as_ref()) {
        return Err(DataError::invalid(path, pickled(&name), spec.archive));
    }
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        return Ok(Layout::Archive(path.to_owned()));
    }
    Err(DataError::invalid(
        path,
        "this is a file",
        format!("a folder with {}", spec.expected()),
    ))
}

fn list(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| DataError::io(folder, error))? {
        let entry = entry.map_err(|error| DataError::io(folder, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The parquet files of a split, in order. If their names have a total, as in
/// `train-00000-of-00002.parquet`, all files must be there.
fn shards(
    folder: &Path,
    names: &[String],
    split: &str,
    spec: &Spec,
) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    let mut announced = None;
    for name in names {
        let Some(rest) = name.strip_prefix(split) else {
            continue;
        };
        let Some(rest) = rest.strip_suffix(".parquet") else {
            continue;
        };
        if !rest.is_empty() && !rest.starts_with(['-', '.', '_']) {
            continue;
        }
        if let Some((_, total)) = rest.split_once("-of-") {
            announced = total.parse::<usize>().ok();
        }
        found.push(folder.join(name));
    }
    match announced {
        Some(total) if total != found.len() => Err(DataError::Missing {
            dataset: spec.title,
            path: folder.to_owned(),
            problem: format!("it has {} of {total} {split}-*.parquet files", found.len()),
            expected: format!(
                "{split}-*.parquet for each of 0 to {}",
                total.saturating_sub(1)
            ),
        }),
        _ => Ok(found),
    }
}
