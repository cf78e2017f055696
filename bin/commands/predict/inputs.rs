//! The files that the arguments name.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use candle_mish::data::image_files;
use glob::MatchOptions;

/// The files that arguments name, in their order.
///
/// A folder stands for the image files in it and in its subfolders, each sorted by name, without hidden
/// entries. A pattern stands for what it matches, sorted by name. A file is taken as it is; whether it
/// can be read shows later.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub files: Vec<PathBuf>,
    /// Why an argument names no file: a folder cannot be read or has no images, or a pattern is not
    /// valid or matches nothing.
    pub problems: Vec<anyhow::Error>,
}

/// Whether an argument may be a pattern: the name of an existing file may have these characters too.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

impl Inputs {
    /// The files that `arguments` name.
    pub(super) fn of(arguments: &[PathBuf]) -> Self {
        let mut inputs = Self::default();
        for argument in arguments {
            match argument.to_str() {
                Some(pattern) if is_pattern(pattern) && !argument.exists() => {
                    inputs.add_matches(pattern);
                }
                _ => inputs.add(argument),
            }
        }
        inputs
    }

    fn add_matches(&mut self, pattern: &str) {
        // As in a shell: `*` matches within a name, and no hidden entry.
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let matches = match glob::glob_with(pattern, options) {
            Ok(matches) => matches,
            Err(error) => {
                let problem = anyhow!("{pattern} is not a valid pattern: {}", error.msg);
                self.problems.push(problem);
                return;
            }
        };
        let mut any = false;
        for path in matches {
            any = true;
            match path {
                Ok(path) => self.add(&path),
                Err(error) => {
                    let place = format!("cannot read {}", error.path().display());
                    let error = anyhow::Error::from(std::io::Error::from(error));
                    self.problems.push(error.context(place));
                }
            }
        }
        if !any {
            self.problems.push(anyhow!("no file matches {pattern}"));
        }
    }

    /// Adds a file, or the images of a folder.
    fn add(&mut self, path: &Path) {
        if !path.is_dir() {
            self.files.push(path.to_path_buf());
            return;
        }
        match image_files(path) {
            Ok((images, notes)) => {
                for note in notes {
                    tracing::warn!("{note}");
                }
                if images.is_empty() {
                    let problem = anyhow!("{} has no image files", path.display());
                    self.problems.push(problem);
                }
                self.files.extend(images);
            }
            Err(error) => self.problems.push(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the files that `arguments` in `root` name.
    fn names(root: &Path, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
        let arguments: Vec<PathBuf> = arguments.iter().map(|name| root.join(name)).collect();
        let Inputs { files, problems } = Inputs::of(&arguments);
        if let Some(problem) = problems.into_iter().next() {
            return Err(problem);
        }
        let relative = files
            .into_iter()
            .map(|file| file.strip_prefix(root).map(Path::to_path_buf));
        let relative = relative.collect::<Result<Vec<_>, _>>()?;
        Ok(relative
            .into_iter()
            .map(|file| file.display().to_string())
            .collect())
    }

    #[test]
    fn folders_and_patterns_are_expanded_in_order() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        for file in [
            "b/2.png",
            "b/1.JPG",
            "b/.hidden.png",
            "b/._1.JPG",
            "b/.cache/3.png",
            "b/notes.txt",
            "b/c/3.webp",
            "a[1].png",
            "a1.png",
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap_or(root))?;
            std::fs::write(path, b"")?;
        }
        let inner = ["b/1.JPG", "b/2.png", "b/c/3.webp"];
        assert_eq!(names(root, &["b"])?, inner);
        assert_eq!(names(root, &["*"])?[2..], inner);
        assert_eq!(
            names(root, &["**/*.png"])?,
            ["a1.png", "a[1].png", "b/2.png"]
        );
        assert_eq!(
            names(root, &["b/*"])?,
            ["b/1.JPG", "b/2.png", "b/c/3.webp", "b/notes.txt"]
        );
        // The name of a file, not a pattern.
        assert_eq!(names(root, &["a[1].png"])?, ["a[1].png"]);
        assert_eq!(
            names(root, &["none.png", "a1.png"])?,
            ["none.png", "a1.png"]
        );
        let error = |argument: &str| match names(root, &[argument]) {
            Err(error) => format!("{error:#}"),
            Ok(files) => panic!("{argument}: {files:?}"),
        };
        assert!(error("b/*.gif").contains("no file matches"));
        assert!(error("b/[.png").contains("not a valid pattern"));
        std::fs::create_dir(root.join("empty"))?;
        assert!(error("empty").contains("has no image files"));
        // The others count all the same.
        let arguments = ["empty", "a1.png", "*.gif"].map(|name| root.join(name));
        let Inputs { files, problems } = Inputs::of(&arguments);
        assert_eq!((files.len(), problems.len()), (1, 2));
        Ok(())
    }
}
