//! The flags of `mish predict`.

use std::path::{Path, PathBuf};

use candle_mish::data::ClassMap;
use candle_mish_models as models;

use super::inputs::is_pattern;
use crate::args::range::{MAX_BATCH, MAX_CLASSES, count};
use crate::args::{DecodeArgs, NetworkArgs, OUTPUT, PreprocessArgs, class_map};
use crate::context::Context;
use crate::failure::usage;
use crate::output_file::{Content, OutputFile};
use crate::source::WeightsArgs;

/// Flags of `mish predict`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct PredictArgs {
    /// The network's name, if the weights do not record it, then images: files, folders, which are
    /// searched for image files in all subfolders, or quoted patterns such as 'images/**/*.jpg'. A
    /// file is PNG, JPEG, WebP, TIFF, BMP or PNM, or safetensors with a normalised tensor `input`
    /// [N, C, H, W]
    #[arg(required = true, value_name = "[NAME] IMAGE")]
    inputs: Vec<PathBuf>,
    #[command(flatten, next_help_heading = "Weights")]
    pub(super) weights: WeightsArgs,
    /// Use only local files
    #[arg(long, help_heading = "Weights")]
    pub(super) offline: bool,
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    /// Images per batch
    #[arg(long, short, value_name = "N", default_value_t = 32, help_heading = OUTPUT,
          value_parser = count(1..=MAX_BATCH))]
    pub(super) batch_size: usize,
    /// Average the logits over each image and its mirror image (test-time augmentation)
    #[arg(long, help_heading = OUTPUT)]
    pub(super) tta: bool,
    /// Number of classes for each image
    #[arg(long, visible_alias = "top", value_name = "N", default_value_t = 5,
          help_heading = OUTPUT, value_parser = count(1..=MAX_CLASSES))]
    pub(super) topk: usize,
    /// File with the names of the classes: one per line in the order of the labels, lines of `name
    /// label` or `name,label`, or a JSON object [default: from the weights]
    #[arg(long, value_name = "FILE", help_heading = OUTPUT, value_parser = class_map)]
    pub(super) class_map: Option<ClassMap>,
    /// Write the classes to this file, which appears when it is complete [default: print them]
    #[arg(long, short, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) output: Option<PathBuf>,
    /// text, csv, json, jsonl (a JSON object per line) or parquet [default: from the extension of
    /// --output, or text]
    #[arg(long, value_name = "NAME", help_heading = OUTPUT)]
    format: Option<Format>,
    /// Write the logits of all images to this JSON file and print no classes
    #[arg(long, value_name = "FILE", help_heading = OUTPUT,
          conflicts_with_all = ["output", "format"])]
    pub(super) logits: Option<PathBuf>,
    #[command(flatten)]
    pub(super) preprocess: PreprocessArgs,
    #[command(flatten, next_help_heading = "Preprocessing")]
    pub(super) decode: DecodeArgs,
}

/// The form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line for each image.
    Text,
    /// A row for each image and class.
    Csv,
    /// An array with an object for each image.
    Json,
    /// A line with an object for each image.
    Jsonl,
    /// A row for each image and class.
    Parquet,
}

impl Format {
    /// The format of files with this extension.
    fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match &*extension {
            "txt" => Self::Text,
            "csv" => Self::Csv,
            "json" => Self::Json,
            "jsonl" | "ndjson" => Self::Jsonl,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

impl PredictArgs {
    /// The network's name, if the first argument is one, and the images.
    ///
    /// # Errors
    /// A usage error, if there are no images.
    pub(super) fn split(&self) -> anyhow::Result<(Option<&str>, &[PathBuf])> {
        let Some((first, rest)) = self.inputs.split_first() else {
            return Err(usage("give image files"));
        };
        let name = first.to_str().filter(|name| {
            let is_path = first.exists() || first.components().count() > 1 || is_pattern(name);
            !is_path && (models::find(name).is_ok() || !rest.is_empty())
        });
        match name {
            Some(name) if rest.is_empty() => Err(usage(format!(
                "name the images after the network: mish predict {name} IMAGE..."
            ))),
            Some(name) if first.extension().is_none() => Ok((Some(name), rest)),
            _ => Ok((None, &self.inputs)),
        }
    }

    /// The form of the results.
    ///
    /// # Errors
    /// A usage error, if the flags contradict each other or do not decide it.
    pub(super) fn format(&self, context: &Context) -> anyhow::Result<Format> {
        let named = self.output.as_deref().map(Format::of_extension);
        let format = match (self.format, context.json, named) {
            (Some(Format::Json), ..) | (None, true, None | Some(Some(Format::Json))) => {
                Format::Json
            }
            (_, true, _) => {
                return Err(usage(
                    "--json contradicts --format or the extension of --output",
                ));
            }
            (Some(format), ..) | (None, _, Some(Some(format))) => format,
            (None, _, None) => Format::Text,
            (None, _, Some(None)) => {
                return Err(usage(
                    "--output: the extension must be .txt, .csv, .json, .jsonl or .parquet, or give \
                     --format",
                ));
            }
        };
        if format == Format::Parquet && self.output.is_none() {
            return Err(usage("--format parquet needs --output FILE"));
        }
        Ok(format)
    }

    /// Checks that the files for results can be written, before any work.
    ///
    /// # Errors
    /// If one cannot be written.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if let Some(path) = &self.output {
            OutputFile::of_any_content("--output", path)?;
        }
        OutputFile::given("--logits", &self.logits, Content::Json)?;
        Ok(())
    }
}
