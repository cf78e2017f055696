//! Files that options name: checked before the work, written after it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use candle_mish::checkpoint::{check_writable, write_atomically};

use crate::failure::usage;

/// What a file holds.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    Csv,
    Html,
    Json,
    Png,
    Safetensors,
    Svg,
}

impl Content {
    /// The name of the format, and the extensions that its files have.
    fn format(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Csv => ("CSV", &["csv", "txt"]),
            Self::Html => ("HTML", &["html", "htm"]),
            Self::Json => ("JSON", &["json"]),
            Self::Png => ("PNG", &["png"]),
            Self::Safetensors => ("safetensors", &["safetensors"]),
            Self::Svg => ("SVG", &["svg"]),
        }
    }

    /// Refuses the extension of another format. A name without an extension is fine.
    fn check(self, flag: &str, path: &Path) -> anyhow::Result<()> {
        let Some(extension) = path.extension() else {
            return Ok(());
        };
        let extension = extension.to_string_lossy().to_lowercase();
        let (format, extensions) = self.format();
        if extensions.contains(&extension.as_str()) {
            return Ok(());
        }
        Err(usage(format!(
            "{flag} {}: the command writes {format}, so the extension must be .{}",
            path.display(),
            extensions.join(" or .")
        )))
    }
}

/// A file that an option names and the command writes.
#[derive(Debug, Clone, Copy)]
pub struct OutputFile<'a> {
    flag: &'static str,
    path: &'a Path,
}

impl<'a> OutputFile<'a> {
    /// Checks that the file of `flag` can be written, and that its name suits its `content`.
    ///
    /// # Errors
    /// A usage error for the extension of another format. If `path` is a folder, or its folder does not
    /// exist or is not writable.
    pub fn new(flag: &'static str, path: &'a Path, content: Content) -> anyhow::Result<Self> {
        content.check(flag, path)?;
        Self::of_any_content(flag, path)
    }

    /// As [`OutputFile::new`] for an option that may be absent.
    ///
    /// # Errors
    /// As [`OutputFile::new`].
    pub fn given(
        flag: &'static str,
        path: &'a Option<PathBuf>,
        content: Content,
    ) -> anyhow::Result<Option<Self>> {
        let path = path.as_deref();
        path.map(|path| Self::new(flag, path, content)).transpose()
    }

    /// As [`OutputFile::new`] for a command that chooses the format itself.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn of_any_content(flag: &'static str, path: &'a Path) -> anyhow::Result<Self> {
        let file = Self { flag, path };
        check_writable(path).with_context(|| file.failed())?;
        Ok(file)
    }

    /// Refuses to replace one of the `inputs` of the command. `what` says what they are.
    ///
    /// # Errors
    /// A usage error.
    pub fn check_is_no_input<'b>(
        &self,
        inputs: impl IntoIterator<Item = &'b Path>,
        what: &str,
    ) -> anyhow::Result<()> {
        // A file that does not exist is no input.
        let Ok(own) = self.path.canonicalize() else {
            return Ok(());
        };
        let is_own = |input: &Path| input.canonicalize().is_ok_and(|input| input == own);
        if inputs.into_iter().any(is_own) {
            return Err(usage(format!(
                "{} {} is {what}: name another file",
                self.flag,
                self.path.display()
            )));
        }
        Ok(())
    }

    /// Writes the file, or leaves an old one as it is if that fails.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, content: &[u8]) -> anyhow::Result<()> {
        write_atomically(self.path, |file| file.write_all(content)).with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        format!("cannot write {} {}", self.flag, self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Content, OutputFile};

    #[test]
    fn extensions_name_the_content() {
        for path in ["a.svg", "b/a.SVG", "a"] {
            Content::Svg.check("--output", Path::new(path)).expect(path);
        }
        let error = Content::Svg.check("--output", Path::new("a.png"));
        assert_eq!(
            error.expect_err("PNG").to_string(),
            "--output a.png: the command writes SVG, so the extension must be .svg"
        );
        let error = Content::Html.check("--html", Path::new("a.json"));
        let message = error.expect_err("JSON").to_string();
        assert!(message.ends_with("must be .html or .htm"), "{message}");
    }

    #[test]
    fn an_input_under_another_name_is_recognised() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let input = folder.path().join("a.csv");
        std::fs::write(&input, "a")?;
        let other = folder.path().join("b/../a.csv");
        std::fs::create_dir(folder.path().join("b"))?;
        let file = OutputFile::new("--output", &other, Content::Csv)?;
        let error = file.check_is_no_input([input.as_path()], "the table");
        let message = error.expect_err("the input").to_string();
        assert!(message.contains("is the table"), "{message}");
        let new = folder.path().join("c.csv");
        let file = OutputFile::new("--output", &new, Content::Csv)?;
        file.check_is_no_input([input.as_path()], "the table")?;
        file.write(b"c")?;
        assert_eq!(std::fs::read(&new)?, b"c");
        Ok(())
    }
}
