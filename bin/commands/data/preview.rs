//! `mish data preview`: a contact sheet of a training batch.

use std::path::PathBuf;

use anyhow::bail;
use candle_mish::data::{Batch, contact_sheet};
use serde::Serialize;

use crate::args::OUTPUT;
use crate::args::range::{MAX_BATCH, MAX_EPOCHS, count};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, table};
use crate::training_images::{TrainingImages, TrainingImagesArgs};

/// Smaller images are enlarged to at least this many pixels.
const VISIBLE: usize = 96;

/// Flags of `mish data preview`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true, allow_negative_numbers = true)]
pub struct PreviewArgs {
    /// PNG file to write
    #[arg(long, value_name = "FILE", help_heading = OUTPUT, default_value = "preview.png")]
    output: PathBuf,
    /// Epoch to show the first batch of, counted from 1
    #[arg(long, value_name = "N", help_heading = OUTPUT, default_value_t = 1,
          value_parser = count(1..=MAX_EPOCHS as usize))]
    epoch: usize,
    /// Maximum number of images to show
    #[arg(long, value_name = "N", help_heading = OUTPUT, default_value_t = 32,
          value_parser = count(1..=MAX_BATCH))]
    images: usize,
    /// Images in a row
    #[arg(long, value_name = "N", help_heading = OUTPUT, default_value_t = 8,
          value_parser = count(1..=MAX_BATCH))]
    columns: usize,
    #[command(flatten)]
    training: TrainingImagesArgs,
}

#[derive(Serialize)]
struct Preview {
    output: PathBuf,
    dataset: String,
    epoch: usize,
    /// Images in the whole batch.
    batch_size: usize,
    /// Height and width in pixels.
    image_size: [usize; 2],
    images: Vec<Shown>,
}

/// An image of the sheet.
#[derive(Serialize)]
struct Shown {
    /// Counted from 1.
    row: usize,
    column: usize,
    /// The largest share first.
    labels: Vec<Share>,
}

/// A class of an image.
#[derive(Serialize)]
struct Share {
    label: usize,
    name: String,
    share: f32,
}

/// Writes the sheet and prints the labels of its images.
///
/// # Errors
/// If a flag is wrong, an image cannot be read or the file cannot be written.
pub fn run(args: &PreviewArgs, context: &Context) -> anyhow::Result<Done> {
    let file = OutputFile::new("--output", &args.output, Content::Png)?;
    let training = args.training.open(context)?;
    let epochs = training.recipe.epochs;
    if args.epoch > epochs {
        let epoch = args.epoch;
        return Err(usage(format!(
            "--epoch {epoch}: the recipe has {epochs} epochs"
        )));
    }
    let Some(batch) = training.loader.epoch(args.epoch as u64 - 1, 0).next() else {
        bail!("the epoch has no batch");
    };
    let batch = batch?;
    let batch_size = batch.labels.dim(0)?;
    let batch = batch.take(args.images)?;
    let (_, _, height, width) = batch.images.dims4()?;
    let TrainingImages { dataset, .. } = &training;
    let sheet = contact_sheet(&batch, dataset.mean, dataset.std, args.columns)?;
    let sheet = sheet.enlarged(VISIBLE / height.max(width));
    file.write(&sheet.to_png()?)?;
    let preview = Preview {
        output: args.output.clone(),
        dataset: dataset.name.clone(),
        epoch: args.epoch,
        batch_size,
        image_size: [height, width],
        images: shown(&batch, &dataset.classes, args.columns)?,
    };
    if context.json {
        output::json(&preview)?;
    } else {
        output::text(&text(&preview))?;
    }
    Ok(Done::Complete)
}

/// The images of a batch with their labels.
fn shown(batch: &Batch, classes: &[String], columns: usize) -> anyhow::Result<Vec<Shown>> {
    let whole = |label: u32| vec![(label as usize, 1.0)];
    let mixed = |row: Vec<f32>| {
        row.into_iter()
            .enumerate()
            .filter(|(_, share)| *share > 0.0)
    };
    let labels: Vec<Vec<(usize, f32)>> = match &batch.targets {
        Some(targets) => targets
            .to_vec2::<f32>()?
            .into_iter()
            .map(|row| mixed(row).collect())
            .collect(),
        None => batch.labels.to_vec1()?.into_iter().map(whole).collect(),
    };
    let image = |(place, mut labels): (usize, Vec<(usize, f32)>)| {
        labels.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let share = |(label, share): (usize, f32)| Share {
            label,
            name: classes.get(label).cloned().unwrap_or_default(),
            share,
        };
        Shown {
            row: place / columns + 1,
            column: place % columns + 1,
            labels: labels.into_iter().map(share).collect(),
        }
    };
    Ok(labels.into_iter().enumerate().map(image).collect())
}

fn text(preview: &Preview) -> String {
    let mut table = table(&["row", "column", "label"]);
    for image in &preview.images {
        let visible = image.labels.iter().filter(|share| share.share >= 0.005);
        let labels = visible.map(|share| match share.share {
            1.0 => share.name.clone(),
            part => format!("{} {:.0} %", share.name, 100.0 * part),
        });
        table.add_row([
            image.row.to_string(),
            image.column.to_string(),
            labels.collect::<Vec<_>>().join(" + "),
        ]);
    }
    align_right(&mut table, [0, 1]);
    let [height, width] = preview.image_size;
    format!(
        "{}: {} of {} images of a training batch of {}, {height}x{width} pixels, in epoch {}\n\n{}",
        preview.output.display(),
        preview.images.len(),
        preview.batch_size,
        preview.dataset,
        preview.epoch,
        table.trim_fmt()
    )
}
