//! Trees of image files: class folders, their files, and what is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::class_order::ClassOrder;
use super::error::{DataError, abridged, counted};

/// The extensions of image files: torchvision's, and the other names of JPEG and PNM files.
const EXTENSIONS: [&str; 15] = [
    "jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "png", "ppm", "pgm", "pbm", "pnm", "bmp", "tif",
    "tiff", "webp",
];
/// Entries of file managers, archivers and file systems, in lower case. Names that start with a dot
/// are hidden too.
const HIDDEN: [&str; 10] = [
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
];

/// A class folder and its image files, in order.
pub(super) struct Class {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
}

/// The class folders of a split, in order.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    pub(super) classes: Vec<Class>,
}

/// The files of a data set that are not used, with their number.
#[derive(Default)]
pub(super) struct LeftOut {
    /// By extension, in lower case.
    extensions: BTreeMap<String, usize>,
    /// Images outside class folders.
    stray: usize,
}

impl LeftOut {
    /// One line for each kind of file.
    pub(super) fn notes(&self, name: &str) -> Vec<String> {
        let mut notes = Vec::new();
        let all: usize = self.extensions.values().sum();
        if all > 0 {
            let mut kinds: Vec<(&String, &usize)> = self.extensions.iter().collect();
            kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let kinds: Vec<String> = kinds
                .into_iter()
                .map(|(extension, count)| match extension.as_str() {
                    "" => format!("{count} without an extension"),
                    extension => format!("{count} .{extension}"),
                })
                .collect();
            let kinds = abridged(&kinds);
            let files = counted(all, "file");
            notes.push(format!(
                "{name}: skipped {files} without an image extension: {kinds}"
            ));
        }
        if self.stray > 0 {
            let images = counted(self.stray, "image");
            notes.push(format!("{name}: skipped {images} outside class folders"));
        }
        notes
    }
}

impl Tree {
    /// Reads the class folders of `root` and the files of each.
    pub(super) fn read(
        root: &Path,
        order: ClassOrder,
        left_out: &mut LeftOut,
    ) -> Result<Self, DataError> {
        let (folders, files) = entries(root)?;
        left_out.stray += files.iter().filter(|file| is_image(file)).count();
        let mut classes = Vec::with_capacity(folders.len());
        for folder in folders {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
                let problem = "the class name is not UTF-8";
                return Err(DataError::invalid(&folder, problem, "a UTF-8 name"));
            };
            let (name, mut files) = (name.to_owned(), Vec::new());
            add(&folder, 0, &mut files, left_out)?;
            classes.push(Class { name, files });
        }
        classes.sort_by(|a, b| order.compare(&a.name, &b.name));
        Ok(Self {
            root: root.to_owned(),
            classes,
        })
    }

    /// The number of images of a class, if it has a folder.
    fn count(&self, name: &str) -> Option<usize> {
        let class = self.classes.iter().find(|class| class.name == name)?;
        Some(class.files.len())
    }

    /// What `self` and `other` have of each class that one of them lacks or has no images of.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let own = self.classes.iter().map(|class| &class.name);
        let more = other.classes.iter().map(|class| &class.name);
        let more = more.filter(|name| self.count(name).is_none());
        let describe = |tree: &Self, name: &str| {
            let split = tree.root.file_name().unwrap_or_default();
            let path = Path::new(split).join(name);
            let path = path.display();
            match tree.count(name) {
                None => format!("{path} does not exist"),
                Some(0) => format!("{path} has no images"),
                Some(count) => format!("{path} has {}", counted(count, "image")),
            }
        };
        let differ = |name: &&String| {
            let lacks = |tree: &Self| tree.count(name).unwrap_or(0) == 0;
            lacks(self) || lacks(other)
        };
        let pair = |name: &String| format!("{}, {}", describe(self, name), describe(other, name));
        own.chain(more).filter(differ).map(pair).collect()
    }
}

/// The image files of a folder, then the files of its subfolders, each sorted by name and without
/// hidden entries. Also returns a line about each kind of file that is left out.
///
/// # Errors
/// If a folder cannot be read, or folders are nested too deeply.
pub fn image_files(folder: &Path) -> Result<(Vec<PathBuf>, Vec<String>), DataError> {
    let (mut images, mut left_out) = (Vec::new(), LeftOut::default());
    add(folder, 0, &mut images, &mut left_out)?;
    Ok((images, left_out.notes(&folder.display().to_string())))
}

/// Adds the image files of a folder, then the files of its subfolders.
fn add(
    folder: &Path,
    depth: usize,
    images: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
) -> Result<(), DataError> {
    /// Deeper nesting means a link to a parent folder.
    const DEEPEST: usize = 32;
    if depth > DEEPEST {
        let problem = format!("more than {DEEPEST} nested folders");
        return Err(DataError::invalid(folder, problem, "class folders"));
    }
    let (folders, files) = entries(folder)?;
    for file in files {
        if is_image(&file) {
            images.push(file);
        } else {
            *left_out.extensions.entry(extension(&file)).or_default() += 1;
        }
    }
    folders
        .iter()
        .try_for_each(|folder| add(folder, depth + 1, images, left_out))
}

/// The folders and the files in a folder, each sorted, without hidden ones.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let io = |error| DataError::io(folder, error);
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if is_hidden(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let (kind, path) = (entry.file_type().map_err(io)?, entry.path());
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            folders.push(path);
        } else {
            files.push(path);
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || HIDDEN.contains(&&*name.to_ascii_lowercase())
}

fn extension(file: &Path) -> String {
    let extension = file.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

fn is_image(file: &Path) -> bool {
    EXTENSIONS.contains(&&*extension(file))
}
