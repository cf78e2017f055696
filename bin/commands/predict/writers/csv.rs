//! CSV (RFC 4180): a row for each image and class.

use std::io::Write;

use super::destination::Destination;
use super::writer::Writer;
use crate::commands::predict::ranking::Prediction;
use crate::csv::quoted;

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
