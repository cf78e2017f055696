//! Data sets of image files with a folder for each class, as torchvision's `ImageFolder` reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::cache;
use super::check::{CheckProgress, Checked, Record, check};
use super::class_order::{ClassOrder, are_numbers};
use super::dataset::{Dataset, Origin, Source};
use super::decode::DecodeOptions;
use super::error::{DataError, abridged, counted};
use super::images::ImageSet;
use super::options::{BadImages, DataOptions, DatasetKind};
use super::tree::{Class, LeftOut, Tree};

/// The names of the folder with the test images.
const TEST: [&str; 3] = ["val", "validation", "test"];

const TRAIN: &str = "train";
const EXPECTED: &str = "train/CLASS/*.jpg and val/CLASS/*.jpg (or validation, or test), or \
                        CLASS/*.jpg; JPEG, PNG, WebP, TIFF, BMP or PNM files";

/// Which images are checked before they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckedSplits {
    /// Training and test images.
    #[default]
    All,
    /// Test images only, for a program that does not use the others.
    Test,
}

/// Opens the folder in `options`: its `train` and one of `val`, `validation` and `test`, or the
/// folder itself as test images.
///
/// Checks the files as `options.bad_images` says. Batches decode the images.
pub(super) fn open(
    options: &DataOptions,
    splits: CheckedSplits,
    progress: CheckProgress,
) -> Result<Dataset, DataError> {
    let Some(root) = options.data_dir.as_deref() else {
        return Err(DataError::Option {
            option: "dataset",
            value: DatasetKind::Folder.to_string(),
            problem: "data_dir must name the folder".to_owned(),
        });
    };
    let preprocess = options.preprocess.unwrap_or_default();
    preprocess.check()?;
    let name = root.file_name().unwrap_or(root.as_os_str());
    let name = format!("{}:{}", DatasetKind::Folder, name.to_string_lossy());
    let mut left_out = LeftOut::default();
    let (mut train, mut test) = trees(root, options.class_order, &mut left_out)?;
    let mut notes = left_out.notes(&name);
    let classes = match &options.class_map {
        Some(map) => {
            apply_class_map(
                options,
                &name,
                [train.as_mut(), Some(&mut test)],
                &mut notes,
            )?;
            let present: BTreeSet<&str> = test.classes.iter().map(|c| c.name.as_str()).collect();
            let classes = map.classes();
            if present.len() < classes.len() {
                let (present, all) = (present.len(), classes.len());
                notes.push(format!(
                    "{name} has {present} of the class map's {all} classes"
                ));
            }
            classes
        }
        None => test
            .classes
            .iter()
            .map(|class| class.name.clone())
            .collect(),
    };
    if let Some(note) = order_note(&name, &test, options) {
        notes.push(note);
    }
    check_classes(root, train.as_ref(), &test, options, &mut notes)?;
    let mut skipped: BTreeSet<PathBuf> = options.skipped.iter().cloned().collect();
    let mut record = Record::read(cache::folder(options.cache_dir.as_deref()).as_deref(), root);
    let mut found = Checked::default();
    for (tree, limit, checked) in [
        (
            train.as_mut(),
            options.limit_train,
            splits == CheckedSplits::All,
        ),
        (Some(&mut test), options.limit_test, true),
    ] {
        let Some(tree) = tree else { continue };
        remove(root, tree, &skipped);
        if checked {
            let files = files(tree, limit).into_iter().map(|(_, file)| file);
            let files: Vec<&Path> = files.collect();
            let limit = limit.unwrap_or(usize::MAX);
            let checked = check(&files, limit, options.bad_images, &mut record, progress);
            found.add(checked);
        }
    }
    record.write();
    let new = bad_images(root, &found, options.bad_images)?;
    for tree in [train.as_mut(), Some(&mut test)].into_iter().flatten() {
        remove(root, tree, &new);
    }
    notes.extend(found.notes(&name, root, options));
    skipped.extend(new);
    let decode = DecodeOptions {
        exif_transpose: options.exif_transpose,
        scale_16bit: options.scale_16bit,
    };
    if files(&test, None).is_empty() {
        return Err(DataError::invalid(
            root,
            "no image is left to evaluate on".to_owned(),
            EXPECTED,
        ));
    }
    let set = |tree: Option<&Tree>, limit| {
        let (mut paths, mut labels) = (Vec::new(), Vec::new());
        for (index, file) in tree.map_or_else(Vec::new, |tree| files(tree, limit)) {
            let name = tree.map_or("", |tree| &tree.classes[index].name);
            let map = options.class_map.as_ref();
            labels.push(map.and_then(|map| map.label(name)).unwrap_or(index as u32));
            paths.push(file.to_owned());
        }
        ImageSet::from_files(paths, labels, preprocess, decode)
    };
    Ok(Dataset {
        name,
        train: set(train.as_ref(), options.limit_train),
        validation: None,
        test: set(Some(&test), options.limit_test),
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
            notes,
            class_map: options.class_map.is_some(),
            skipped: skipped.into_iter().collect(),
        },
    })
}

/// The training and the test images.
fn trees(
    root: &Path,
    order: ClassOrder,
    left_out: &mut LeftOut,
) -> Result<(Option<Tree>, Tree), DataError> {
    let missing = |problem: &str| DataError::Missing {
        dataset: "images",
        path: root.to_owned(),
        problem: problem.to_owned(),
        expected: EXPECTED.to_owned(),
    };
    let training = root.join(TRAIN);
    let test = TEST.map(|name| root.join(name));
    let test = test.into_iter().find(|folder| folder.is_dir());
    let trees = match (training.is_dir(), test) {
        (true, Some(test)) => (
            Some(Tree::read(&training, order, left_out)?),
            Tree::read(&test, order, left_out)?,
        ),
        (true, None) => return Err(missing("it has train, but no val, validation or test")),
        (false, Some(test)) => (None, Tree::read(&test, order, left_out)?),
        (false, None) => (None, Tree::read(root, order, left_out)?),
    };
    if trees.1.classes.is_empty() {
        return Err(missing("it has no class folders"));
    }
    Ok(trees)
}

/// Removes the classes that the class map does not have, if the options allow that.
fn apply_class_map<'a>(
    options: &DataOptions,
    name: &str,
    trees: impl IntoIterator<Item = Option<&'a mut Tree>>,
    notes: &mut Vec<String>,
) -> Result<(), DataError> {
    let Some(map) = &options.class_map else {
        return Ok(());
    };
    let known = |class: &Class| map.label(&class.name).is_some();
    let (mut unknown, mut total, mut images) = (BTreeSet::new(), BTreeSet::new(), 0);
    for tree in trees.into_iter().flatten() {
        for class in &tree.classes {
            total.insert(class.name.clone());
            if !known(class) {
                images += class.files.len();
                unknown.insert(class.name.clone());
            }
        }
        tree.classes.retain(known);
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let folders: Vec<&String> = unknown.iter().collect();
    if !options.ignore_unknown_classes || unknown.len() == total.len() {
        return Err(DataError::UnknownClasses {
            dataset: name.to_owned(),
            unknown: unknown.len(),
            total: total.len(),
            of: "the class map",
            names: abridged(&folders),
            in_folders: true,
        });
    }
    notes.push(format!(
        "{name}: left out {} of {} that the class map does not have: {}",
        counted(images, "image"),
        counted(folders.len(), "class"),
        abridged(&folders)
    ));
    Ok(())
}

/// Says that the two orders number the classes differently, if all of them are numbers. Other names
/// have an order that readers expect.
fn order_note(name: &str, tree: &Tree, options: &DataOptions) -> Option<String> {
    if options.class_map.is_some() || options.class_order != ClassOrder::Lexical {
        return None;
    }
    let classes: Vec<String> = tree.classes.iter().map(|c| c.name.clone()).collect();
    let in_order = |pair: &[String]| ClassOrder::Natural.compare(&pair[0], &pair[1]).is_lt();
    if !are_numbers(&classes) || classes.windows(2).all(in_order) {
        return None;
    }
    Some(format!(
        "{name}: the class folders are numbers and count in lexical order, as in torchvision: {}; \
         class_order = natural counts by value, as timm does. A network that records its class \
         names needs neither",
        abridged(&classes)
    ))
}

/// Refuses classes without images. With a class map the labels do not depend on the other classes,
/// so a class that one split lacks is only noted.
fn check_classes(
    root: &Path,
    train: Option<&Tree>,
    test: &Tree,
    options: &DataOptions,
    notes: &mut Vec<String>,
) -> Result<(), DataError> {
    let differences = match train {
        Some(train) => train.differences(test),
        None => test
            .classes
            .iter()
            .filter(|class| class.files.is_empty())
            .map(|class| format!("class {} has no images", class.name))
            .collect(),
    };
    if differences.is_empty() {
        return Ok(());
    }
    let list = differences.iter().take(3).cloned().collect::<Vec<_>>();
    let mut list = list.join("; ");
    if let Some(rest @ 1..) = differences.len().checked_sub(3) {
        list = format!("{list}; and {rest} more");
    }
    if options.class_map.is_some() {
        notes.push(format!("{}: {list}", root.display()));
        return Ok(());
    }
    let expected = match train {
        Some(_) => "images of the same classes in both",
        None => "images in every class folder",
    };
    Err(DataError::invalid(root, list, expected))
}

/// The files with the positions of their classes, class by class. With a limit, the classes take turns, so
/// that the first files are of all of them.
fn files(tree: &Tree, limit: Option<usize>) -> Vec<(usize, &Path)> {
    let mut files = Vec::new();
    for (index, class) in tree.classes.iter().enumerate() {
        let numbered = class.files.iter().enumerate();
        files.extend(numbered.map(|(turn, file)| (turn, index, file.as_path())));
    }
    if limit.is_some() {
        files.sort_by_key(|(turn, ..)| *turn);
    }
    files
        .into_iter()
        .map(|(_, index, file)| (index, file))
        .collect()
}

/// The path of a file in the data set.
fn relative<'a>(root: &Path, file: &'a Path) -> &'a Path {
    file.strip_prefix(root).unwrap_or(file)
}

/// Removes the files in `skipped`, which are relative to `root`.
fn remove(root: &Path, tree: &mut Tree, skipped: &BTreeSet<PathBuf>) {
    if skipped.is_empty() {
        return;
    }
    for class in &mut tree.classes {
        let files = &mut class.files;
        files.retain(|file| !skipped.contains(relative(root, file)));
    }
}

/// The bad images, relative to `root`, unless they are an error.
fn bad_images(
    root: &Path,
    found: &Checked,
    bad_images: BadImages,
) -> Result<BTreeSet<PathBuf>, DataError> {
    for (file, problem) in &found.bad {
        tracing::info!("{}: {problem}", file.display());
    }
    if bad_images == BadImages::Error && !found.bad.is_empty() {
        return Err(DataError::BadImages {
            path: root.to_owned(),
            bad: found.bad.len(),
            checked: found.files,
            first: found.first_bad(root),
        });
    }
    let files = found.bad.iter().map(|(file, _)| relative(root, file));
    Ok(files.map(Path::to_owned).collect())
}

impl Checked {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bad.extend(other.bad);
        self.oriented += other.oriented;
        self.grey_16bit += other.grey_16bit;
    }

    /// The first bad images, grouped by their problem.
    fn first_bad(&self, root: &Path) -> String {
        const SHOWN: usize = 3;
        let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
        for (file, problem) in self.bad.iter().take(SHOWN) {
            let file = relative(root, file).display().to_string();
            match groups.iter_mut().find(|(known, _)| known == problem) {
                Some((_, files)) => files.push(file),
                None => groups.push((problem, vec![file])),
            }
        }
        let shown = groups
            .iter()
            .map(|(problem, files)| format!("{} ({problem})", files.join(", ")));
        let shown = shown.collect::<Vec<_>>().join(", ");
        match self.bad.len().checked_sub(SHOWN) {
            None | Some(0) => shown,
            Some(rest) => format!("{shown} and {rest} more"),
        }
    }

    /// What differs from what a reader may expect.
    fn notes(&self, name: &str, root: &Path, options: &DataOptions) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.bad.is_empty() {
            notes.push(format!(
                "{name}: skipped {} of {} images, which cannot be decoded: {}",
                self.bad.len(),
                self.files,
                self.first_bad(root)
            ));
        }
        if self.oriented > 0 && !options.exif_transpose {
            notes.push(format!(
                "{name}: {} of {} images have an EXIF orientation, which is ignored, as in Pillow; \
                 exif_transpose applies it",
                self.oriented, self.files
            ));
        }
        if self.grey_16bit > 0 && !options.scale_16bit {
            notes.push(format!(
                "{name}: {} of {} images are 16-bit grey, where values above 255 are white, as in \
                 Pillow; scale_16bit scales them",
                self.grey_16bit, self.files
            ));
        }
        notes
    }
}
