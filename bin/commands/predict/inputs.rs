//! The files that the arguments name.

use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_mish::data::image_files;
use glob::MatchOptions;

/// The files that `arguments` name, in their order. A folder stands for the image files in it and in
/// its subfolders, each sorted by name, without hidden entries. A pattern stands for what it matches,
/// sorted by name. A file is taken as it is; whether it can be read shows later.
///
/// # Errors
/// If a folder cannot be read or has no images, or a pattern is not valid or matches nothing.
pub(super) fn expand(arguments: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for argument in arguments {
        match argument.to_str() {
            Some(pattern) if is_pattern(pattern) && !argument.exists() => {
                add_matches(pattern, &mut files)?;
            }
            _ => add(argument, &mut files)?,
        }
    }
    Ok(files)
}

/// Whether an argument may be a pattern: the name of an existing file may have these characters too.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn add_matches(pattern: &str, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    // As in a shell: `*` matches within a name, and no hidden entry.
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let matches = glob::glob_with(pattern, options)
        .map_err(|error| anyhow::anyhow!("{pattern} is not a valid pattern: {}", error.msg))?;
    let mut any = false;
    for path in matches {
        let path = path.map_err(|error| {
            let place = format!("cannot read {}", error.path().display());
            anyhow::Error::from(std::io::Error::from(error)).context(place)
        })?;
        any = true;
        add(&path, files)?;
    }
    if !any {
        bail!("no file matches {pattern}");
    }
    Ok(())
}

/// Adds a file, or the images of a folder.
fn add(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let (images, notes) = image_files(path)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    if images.is_empty() {
        bail!("{} has no image files", path.display());
    }
    files.extend(images);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the files that `arguments` in `root` name.
    fn names(root: &Path, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
        let arguments: Vec<PathBuf> = arguments.iter().map(|name| root.join(name)).collect();
        let files = expand(&arguments)?.into_iter();
        let relative = files.map(|file| file.strip_prefix(root).map(Path::to_path_buf));
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
        Ok(())
    }
}
