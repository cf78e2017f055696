//! Finding the files of a data set in a folder.

use std::path::{Path, PathBuf};

use super::spec::{Files, Format, Spec};
use crate::data::error::DataError;

/// The files of a data set.
#[derive(Debug)]
pub(super) enum Layout {
    /// Parquet files, as on the Hub.
    Parquet {
        train: Vec<PathBuf>,
        test: Vec<PathBuf>,
    },
    /// The files of the data set's authors.
    Files {
        format: Format,
        train: Vec<PathBuf>,
        test: Vec<PathBuf>,
    },
    /// An archive of such files.
    Archive(PathBuf),
}

impl Layout {
    /// Looks in `path`, then in the subfolders of the published layouts. `path` may also be an
    /// archive or one of the parquet files.
    pub(super) fn find(path: &Path, spec: &Spec) -> Result<Self, DataError> {
        let kind = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(path, spec, "there is no such folder"),
            _ => DataError::io(path, error),
        })?;
        if kind.is_file() {
            return of_file(path, spec);
        }
        let folders = std::iter::once(path.to_owned())
            .chain(spec.subfolders.iter().map(|name| path.join(name)));
        for folder in folders.filter(|folder| folder.is_dir()) {
            let folder = Folder::list(folder)?;
            if let Some(layout) = folder.parquet(spec)? {
                return Ok(layout);
            }
            for files in spec.layouts {
                if let Some(layout) = folder.files(files, spec)? {
                    return Ok(layout);
                }
            }
            let archives = spec.layouts.iter().filter_map(|files| files.archive);
            for archive in archives {
                if let Some(path) = folder.file(archive) {
                    return Ok(Self::Archive(path));
                }
            }
        }
        let problem = if Folder::list(path.to_owned())?.names.is_empty() {
            "the folder is empty"
        } else {
            "it has none of the files"
        };
        Err(missing(path, spec, problem))
    }
}

fn missing(path: &Path, spec: &Spec, problem: impl Into<String>) -> DataError {
    DataError::Missing {
        dataset: spec.title,
        path: path.to_owned(),
        problem: problem.into(),
        expected: spec.expected(),
    }
}

/// The layout that a file belongs to.
fn of_file(path: &Path, spec: &Spec) -> Result<Layout, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let archives = spec.layouts.iter().any(|files| files.archive.is_some());
    if archives && (name.ends_with(".tar.gz") || name.ends_with(".tgz")) {
        return Ok(Layout::Archive(path.to_owned()));
    }
    if ["train", "test"].iter().any(|split| is_shard(&name, split)) {
        let above = path.parent().unwrap_or(Path::new(""));
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        if let Some(layout) = Folder::list(above.to_owned())?.parquet(spec)? {
            return Ok(layout);
        }
    }
    Err(DataError::invalid(
        path,
        "this is a file",
        format!("a folder with {}", spec.expected()),
    ))
}

/// A folder and the names in it, sorted.
struct Folder {
    path: PathBuf,
    names: Vec<String>,
}

impl Folder {
    fn list(path: PathBuf) -> Result<Self, DataError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(|error| DataError::io(&path, error))? {
            let entry = entry.map_err(|error| DataError::io(&path, error))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Self { path, names })
    }

    /// The path of a file, if the folder has it.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let known = self.names.iter().any(|own| own == name);
        Some(self.path.join(name)).filter(|path| known && path.is_file())
    }

    /// The parquet files of both splits: `train-*.parquet` and `test-*.parquet` as in repositories
    /// on the Hub, or `train/*.parquet` and `test/*.parquet` as in the Hub's conversions.
    fn parquet(&self, spec: &Spec) -> Result<Option<Layout>, DataError> {
        let (train, test) = (self.shards("train", spec)?, self.shards("test", spec)?);
        match (train.is_empty(), test.is_empty()) {
            (false, false) => Ok(Some(Layout::Parquet { train, test })),
            (true, true) => Ok(None),
            (_, no_test) => {
                let split = if no_test { "test" } else { "train" };
                let problem = format!("there is no {split}-*.parquet");
                Err(missing(&self.path, spec, problem))
            }
        }
    }

    /// The parquet files of a split, in order.
    fn shards(&self, split: &str, spec: &Spec) -> Result<Vec<PathBuf>, DataError> {
        let own = self.names.iter().filter(|name| is_shard(name, split));
        let own: Vec<&String> = own.collect();
        if !own.is_empty() {
            check_complete(&self.path, &own, split, spec)?;
            return Ok(own.iter().map(|name| self.path.join(name)).collect());
        }
        let folder = self.path.join(split);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let folder = Self::list(folder)?;
        let parquet = |name: &&String| name.ends_with(".parquet") && !name.starts_with('.');
        let names: Vec<&String> = folder.names.iter().filter(parquet).collect();
        check_complete(&folder.path, &names, split, spec)?;
        Ok(names.iter().map(|name| folder.path.join(name)).collect())
    }

    /// The files of a layout, all of which must be there if one is.
    fn files(&self, files: &Files, spec: &Spec) -> Result<Option<Layout>, DataError> {
        let find = |name: &'static str| self.variant(name, files.format).ok_or(name);
        let both = [files.train, files.test].map(|names| {
            names
                .iter()
                .copied()
                .map(find)
                .collect::<Result<Vec<_>, _>>()
        });
        let mut all = files.train.iter().chain(files.test).copied();
        match both {
            [Ok(train), Ok(test)] => Ok(Some(Layout::Files {
                format: files.format,
                train,
                test,
            })),
            _ if !all.any(|name| find(name).is_ok()) => Ok(None),
            [Err(absent), _] | [_, Err(absent)] => {
                Err(missing(&self.path, spec, format!("there is no {absent}")))
            }
        }
    }

    /// The path of a file under one of its names: IDX files are also common gzipped, and with a
    /// dot in place of the hyphen before `idx`.
    fn variant(&self, name: &str, format: Format) -> Option<PathBuf> {
        if format != Format::Idx {
            return self.file(name);
        }
        let dotted = name.replace("-idx", ".idx");
        [name, &dotted]
            .into_iter()
            .find_map(|name| self.file(name).or_else(|| self.file(&format!("{name}.gz"))))
    }
}

/// Whether a file is named as a parquet file of a split: `train.parquet`,
/// `train-00000-of-00001.parquet`.
fn is_shard(name: &str, split: &str) -> bool {
    let rest = name.strip_prefix(split);
    let rest = rest.and_then(|rest| rest.strip_suffix(".parquet"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_']))
}

/// Refuses an incomplete sequence of files: fewer than the total in names like
/// `train-00000-of-00002.parquet`, or a gap in names like `0000.parquet`.
fn check_complete(
    folder: &Path,
    names: &[&String],
    split: &str,
    spec: &Spec,
) -> Result<(), DataError> {
    let stems = || {
        names
            .iter()
            .filter_map(|name| name.strip_suffix(".parquet"))
    };
    // A hash may follow the total.
    let total = stems().find_map(|stem| {
        let (_, rest) = stem.split_once("-of-")?;
        rest.split('-').next()?.parse::<usize>().ok()
    });
    let numbers: Option<Vec<usize>> = stems().map(|stem| stem.parse().ok()).collect();
    let last = numbers.and_then(|numbers| numbers.into_iter().max());
    match total.or(last.map(|last| last.saturating_add(1))) {
        Some(total) if total != names.len() => Err(DataError::Missing {
            dataset: spec.title,
            path: folder.to_owned(),
            problem: format!("it has {} of {total} {split}-*.parquet files", names.len()),
            expected: format!(
                "{split}-*.parquet for each of 0 to {}",
                total.saturating_sub(1)
            ),
        }),
        _ => Ok(()),
    }
}
