//! Results as files or on stdout, written image by image.

mod csv;
mod destination;
mod json;
mod logits;
mod parquet;
mod text;

use std::path::Path;

use candle_mish_models::ModelSpec;

use super::args::Format;
use super::ranking::{Prediction, Ranking};
use destination::Destination;
use logits::Logits;

/// Receives the logits of each image, in order.
pub(super) trait Results {
    /// Adds an image.
    ///
    /// # Errors
    /// If the destination cannot be written.
    fn add(&mut self, image: &str, logits: &[f32]) -> anyhow::Result<()>;

    /// Passes on what was added so far, where the destination is read while it is written.
    ///
    /// # Errors
    /// If the destination cannot be written.
    fn flush(&mut self) -> anyhow::Result<()>;

    /// Completes the results. Without it, a file does not appear.
    ///
    /// # Errors
    /// If the destination cannot be written.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// Writes the classes of images in one format.
trait Writer {
    fn write(&mut self, prediction: &Prediction) -> anyhow::Result<()>;

    fn flush(&mut self) -> anyhow::Result<()>;

    fn finish(self) -> anyhow::Result<()>;
}

/// The most probable classes of each image, in one format.
struct Classes<W> {
    ranking: Ranking,
    writer: W,
}

impl<W: Writer> Results for Classes<W> {
    fn add(&mut self, image: &str, logits: &[f32]) -> anyhow::Result<()> {
        self.writer.write(&self.ranking.rank(image, logits))
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.flush()
    }

    fn finish(self: Box<Self>) -> anyhow::Result<()> {
        self.writer.finish()
    }
}

/// The classes of each image in `format`, in a file or on stdout.
///
/// # Errors
/// If the file cannot be created.
pub(super) fn classes(
    ranking: Ranking,
    format: Format,
    file: Option<&Path>,
) -> anyhow::Result<Box<dyn Results>> {
    let out = Destination::new(file)?;
    Ok(match format {
        Format::Text => boxed(ranking, text::Text(out)),
        Format::Csv => boxed(ranking, csv::Csv::new(out)),
        Format::Json => boxed(ranking, json::Array::new(out)),
        Format::Jsonl => boxed(ranking, json::Lines(out)),
        Format::Parquet => boxed(ranking, parquet::Parquet::new(out)?),
    })
}

/// The logits of each image in a JSON file.
///
/// # Errors
/// If the file cannot be created.
pub(super) fn logits(path: &Path, spec: &ModelSpec) -> anyhow::Result<Box<dyn Results>> {
    Ok(Box::new(Logits::new(path, spec)?))
}

fn boxed(ranking: Ranking, writer: impl Writer + 'static) -> Box<dyn Results> {
    Box::new(Classes { ranking, writer })
}
