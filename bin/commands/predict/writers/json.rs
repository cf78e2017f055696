//! JSON: an array, or a line for each image.

use std::io::Write;

use super::destination::Destination;
use super::writer::Writer;
use crate::commands::predict::ranking::Prediction;

/// An indented array, written element by element.
pub(super) struct Array {
    out: Destination,
    is_empty: bool,
}

impl Array {
    pub(super) fn new(out: Destination) -> Self {
        Self {
            out,
            is_empty: true,
        }
    }
}

impl Writer for Array {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()> {
        let before = if self.is_empty { "[\n" } else { ",\n" };
        self.is_empty = false;
        // Line breaks in strings are escaped, so that every line can be indented.
        let element = serde_json::to_string_pretty(prediction)?.replace('\n', "\n  ");
        Ok(write!(self.out, "{before}  {element}")?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.out.pass_on()
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let end = if self.is_empty { "[]\n" } else { "\n]\n" };
        self.out.write_all(end.as_bytes())?;
        self.out.commit()
    }
}

/// JSON lines.
pub(super) struct Lines(pub Destination);

impl Writer for Lines {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()> {
        Ok(writeln!(self.0, "{}", serde_json::to_string(prediction)?)?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.0.pass_on()
    }

    fn finish(self) -> anyhow::Result<()> {
        self.0.commit()
    }
}
