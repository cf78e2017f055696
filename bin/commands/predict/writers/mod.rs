//! Results as files or on stdout, written image by image.

mod csv;
mod destination;
mod json;
mod logits;
mod parquet;
mod text;
mod writer;

use std::path::Path;

use candle_mish_models::ModelSpec;

use super::args::Format;
use super::ranking::Ranking;
use destination::Destination;
use logits::Logits;
pub(super) use writer::Results;
use writer::Writer;

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
