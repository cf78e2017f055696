//! CSV (RFC 4180): a row for each image and class.

use std::borrow::Cow;
use std::io::Write;

use super::destination::Destination;
use super::writer::Writer;
use crate::commands::predict::ranking::Prediction;

const HEADER: &str = "image,rank,label,class,probability";

/// Writes a header and rows.
pub(super) struct Csv {
    out: Destination,
    has_header: bool,
}

impl Csv {
    pub(super) fn new(out: Destination) -> Self {
        Self {
            out,
            has_header: false,
        }
    }
}

impl Writer for Csv {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()> {
        // Not before the first image, so that a command that fails earlier prints nothing.
        if !self.has_header {
            writeln!(self.out, "{HEADER}")?;
            self.has_header = true;
        }
        let image = quoted(prediction.image);
        for (rank, class) in (1..).zip(&prediction.classes) {
            let (label, name) = (class.label, quoted(&class.name));
            let probability = class.probability;
            writeln!(self.out, "{image},{rank},{label},{name},{probability:?}")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.out.pass_on()
    }

    fn finish(self) -> anyhow::Result<()> {
        self.out.commit()
    }
}

/// A field, in quotes if it needs them.
fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn fields_are_quoted_if_they_need_it() {
        for (field, want) in [
            ("a b.png", "a b.png"),
            ("tench, Tinca tinca", "\"tench, Tinca tinca\""),
            ("6\" pipe", "\"6\"\" pipe\""),
            ("two\nlines", "\"two\nlines\""),
            ("", ""),
        ] {
            assert_eq!(quoted(field), want);
        }
    }
}
