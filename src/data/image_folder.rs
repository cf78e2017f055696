//! Trees of image files with a folder for each class, as torchvision's `ImageFolder` reads them.

use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Origin, Source};
use super::error::DataError;
use super::images::ImageSet;
use super::options::{DataOptions, DatasetKind};

/// The extensions of image files, as in torchvision.
const EXTENSIONS: [&str; 9] = [
    "jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
];
/// The names of the folder with the test images.
const TEST: [&str; 3] = ["val", "validation", "test"];

const TRAIN: &str = "train";
const EXPECTED: &str = "train/CLASS/*.jpg and val/CLASS/*.jpg (or validation, or test), or \
                        CLASS/*.jpg; jpg, jpeg, png, ppm, bmp, pgm, tif, tiff or webp";

/// The classes of a tree and its files with their labels.
struct Tree {
    classes: Vec<String>,
    files: Vec<PathBuf>,
    labels: Vec<u32>,
}

/// Opens the folder in `options`: its `train` and one of `val`, `validation` and `test`, or the
/// folder itself as test images.
///
/// Reads only names. Batches decode the images.
pub(super) fn open(options: &DataOptions) -> Result<Dataset, DataError> {
    let Some(root) = options.data_dir.as_deref() else {
        return Err(DataError::Option {
            option: "dataset",
            value: DatasetKind::Folder.to_string(),
            problem: "data_dir must name the folder".to_owned(),
        });
    };
    let preprocess = options.preprocess.unwrap_or_default();
    preprocess.check()?;
    let missing = |problem: String| DataError::Missing {
        dataset: "images",
        path: root.to_owned(),
        problem,
        expected: EXPECTED.to_owned(),
    };
    let training = root.join(TRAIN);
    let test = TEST.map(|name| root.join(name));
    let test = test.into_iter().find(|folder| folder.is_dir());
    let (train, test) = match (training.is_dir(), test) {
        (true, Some(test)) => {
            let (train, test) = (Tree::read(&training)?, Tree::read(&test)?);
            if train.classes != test.classes {
                return Err(missing(difference(&train.classes, &test.classes)));
            }
            (Some(train), test)
        }
        (true, None) => {
            return Err(missing(
                "it has train, but no val, validation or test".to_owned(),
            ));
        }
        (false, Some(test)) => (None, Tree::read(&test)?),
        (false, None) => (None, Tree::read(root)?),
    };
    if test.classes.is_empty() {
        return Err(missing("it has no class folders".to_owned()));
    }
    let classes = test.classes.clone();
    let set = |tree: Tree| ImageSet::from_files(tree.files, tree.labels, preprocess);
    let name = root.file_name().unwrap_or(root.as_os_str());
    Ok(Dataset {
        name: format!("{}:{}", DatasetKind::Folder, name.to_string_lossy()),
        train: train.map_or_else(|| ImageSet::from_files(vec![], vec![], preprocess), set),
        validation: None,
        test: set(test),
        classes,
        coarse_classes: Vec::new(),
        mean: preprocess.mean,
        std: preprocess.std,
        source: Source {
            requested: options.dataset,
            origin: Origin::Folder,
            location: root.display().to_string(),
            files: Vec::new(),
            from_cache: false,
            fallback: None,
            notes: Vec::new(),
            class_map: false,
            skipped: Vec::new(),
        },
    })
}

/// A class that only one of the splits has.
fn difference(train: &[String], test: &[String]) -> String {
    let lacking = |of: &[String], other: &[String]| {
        let class = other.iter().find(|class| !of.contains(class));
        class.cloned()
    };
    match (lacking(train, test), lacking(test, train)) {
        (Some(class), _) => format!("train has no folder {class}, the other split has"),
        (None, Some(class)) => format!("train has a folder {class}, the other split does not"),
        (None, None) => "the classes differ".to_owned(),
    }
}

impl Tree {
    /// Reads the classes in the order of their names, and the files of each class.
    fn read(root: &Path) -> Result<Self, DataError> {
        let named = |path: PathBuf| match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => Ok((name.to_owned(), path)),
            None => Err(DataError::invalid(
                &path,
                "the class name is not UTF-8",
                "a UTF-8 name",
            )),
        };
        let folders = entries(root)?.into_iter().filter(|path| path.is_dir());
        let mut classes = folders.map(named).collect::<Result<Vec<_>, _>>()?;
        // The byte order of UTF-8 is the order of code points, which torchvision uses.
        classes.sort();
        let mut tree = Self {
            classes: Vec::with_capacity(classes.len()),
            files: Vec::new(),
            labels: Vec::new(),
        };
        for (label, (class, folder)) in (0..).zip(classes) {
            let before = tree.files.len();
            tree.add(&folder, 0)?;
            if tree.files.len() == before {
                return Err(DataError::invalid(
                    &folder,
                    "the class has no images",
                    format!("{} files", EXTENSIONS.join(", ")),
                ));
            }
            tree.labels.resize(tree.files.len(), label);
            tree.classes.push(class);
        }
        Ok(tree)
    }

    /// Adds the files of a folder, then the files of its subfolders.
    fn add(&mut self, folder: &Path, depth: usize) -> Result<(), DataError> {
        /// Deeper nesting means a link to a parent folder.
        const DEEPEST: usize = 32;
        if depth > DEEPEST {
            let problem = format!("more than {DEEPEST} nested folders");
            return Err(DataError::invalid(folder, problem, EXPECTED));
        }
        let mut entries = entries(folder)?;
        entries.sort();
        let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|p| p.is_dir());
        for file in files {
            let extension = file.extension().and_then(|extension| extension.to_str());
            let extension = extension.unwrap_or("").to_ascii_lowercase();
            if EXTENSIONS.contains(&&*extension) {
                self.files.push(file);
            }
        }
        folders
            .iter()
            .try_for_each(|folder| self.add(folder, depth + 1))
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |error| DataError::io(folder, error);
    let entries = std::fs::read_dir(folder).map_err(io)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(io)
}
