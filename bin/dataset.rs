//! Opens data sets, with a progress bar for the check of image files.

use candle_mish::data::{
    self, BadImages, CheckedSplits, ClassOrder, DataOptions, Dataset, DatasetKind,
};
use indicatif::ProgressStyle;

use crate::context::Context;
use crate::failure::usage;
use crate::source::terminal_bar;

/// Opens the data set that `options` name. Image files of `splits` are checked first.
///
/// # Errors
/// If the data set is missing or invalid, or a flag for image folders is given without one.
pub fn open(
    options: &DataOptions,
    splits: CheckedSplits,
    context: &Context,
) -> anyhow::Result<Dataset> {
    refuse_folder_flags(options)?;
    let bar = terminal_bar(context);
    if let Ok(style) = ProgressStyle::with_template("checking images {bar:30} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let dataset = data::open_with(options, splits, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(dataset?)
}

/// Refuses flags that have an effect on folders of image files only.
fn refuse_folder_flags(options: &DataOptions) -> anyhow::Result<()> {
    if options.dataset == DatasetKind::Folder {
        return Ok(());
    }
    let given = [
        (
            "--class-order",
            options.class_order != ClassOrder::default(),
        ),
        ("--class-map", options.class_map.is_some()),
        ("--bad-images", options.bad_images != BadImages::default()),
        ("--exif-transpose", options.exif_transpose),
        ("--scale-16bit", options.scale_16bit),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(usage(format!("{flag} needs --dataset folder:PATH"))),
        None => Ok(()),
    }
}
