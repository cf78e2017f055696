//! A line for each image.

use std::io::Write;

use super::destination::Destination;
use super::writer::Writer;
use crate::commands::predict::ranking::Prediction;

/// Writes `image: class (12.3 %), class (4.5 %)`.
pub(super) struct Text(pub Destination);

impl Writer for Text {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()> {
        let classes = prediction.classes.iter();
        let classes = classes.map(|c| format!("{} ({:.1} %)", c.name, 100.0 * c.probability));
        let classes = classes.collect::<Vec<_>>().join(", ");
        Ok(writeln!(self.0, "{}: {classes}", prediction.image)?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.0.pass_on()
    }

    fn finish(self) -> anyhow::Result<()> {
        self.0.commit()
    }
}
