//! Logits as a JSON object.

use std::io::Write;
use std::path::Path;

use candle_mish_models::ModelSpec;

use super::destination::Destination;
use super::writer::Results;

/// Writes the network, a row of logits for each image, and the images.
pub(super) struct Logits {
    out: Destination,
    /// The names of the images so far. They follow the logits, which are too many to keep.
    images: Vec<String>,
}

impl Logits {
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn new(path: &Path, spec: &ModelSpec) -> anyhow::Result<Self> {
        let mut out = Destination::new(Some(path))?;
        let text = |value: &dyn std::fmt::Display| serde_json::to_string(&value.to_string());
        writeln!(out, "{{")?;
        writeln!(out, "  \"model\": {},", text(&spec.model)?)?;
        writeln!(out, "  \"activation\": {},", text(&spec.activation)?)?;
        writeln!(out, "  \"stem\": {},", text(&spec.stem)?)?;
        write!(out, "  \"logits\": [")?;
        Ok(Self {
            out,
            images: Vec::new(),
        })
    }
}

impl Results for Logits {
    fn add(&mut self, image: &str, logits: &[f32]) -> anyhow::Result<()> {
        let before = if self.images.is_empty() { "\n" } else { ",\n" };
        let row = serde_json::to_string(logits)?;
        write!(self.out, "{before}    {row}")?;
        self.images.push(image.to_string());
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        let images = serde_json::to_string(&self.images)?;
        writeln!(self.out, "\n  ],\n  \"images\": {images}\n}}")?;
        self.out.commit()
    }
}
